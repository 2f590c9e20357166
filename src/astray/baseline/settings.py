"""From the configuration to what the hot loop reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import SETTINGS
from astray.baseline.granting import Grants
from astray.config import Config

_MICROS = 1_000_000
_DAY_US = 86_400 * _MICROS
_BITS_PER_SCORE = np.log2(10.0) / 20.0
_REPORT_BITS = 4.0
_EVIDENCE_BITS = 3.0
_SWARM_LEAST = 4


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What a shard needs of the configuration; `loop` is one record of `buffers.SETTINGS`.

    A shard tells of swarms of at least `swarm_min` of its agents (0: of none).
    What is in quarantine for `quarantine_us`, or is known to peers by `agreement` agents and
    days, comes out of it; 0: never.
    """

    loop: NDArray[Any]
    window_us: int
    half_life_us: int
    agents_max: int
    sessions_max: int
    quarantine_us: int = 0
    agreement: float = 0.0
    grants: Grants | None = None
    swarm_min: int = 0


def shard_settings(config: Config, limits: Mapping[str, float]) -> ShardSettings:
    """Return the settings of every shard; `limits` are the lowest hard limits of all policies."""
    baseline = config.baseline
    loop = np.zeros(1, SETTINGS)
    for name, value in {
        "idle_us": config.sessions.idle_s * _MICROS,
        "half_life_us": int(baseline.half_life_days * _DAY_US),
        "rows_max": config.sessions.events_max,
        "rehearsals": config.reference.rehearsals,
        "known_weight": baseline.known_weight,
        "groups_max": baseline.groups_max,
        "agent_bits_max": baseline.agent_pages_max.bit_length() - 1,
        "group_bits_max": baseline.group_pages_max.bit_length() - 1,
        "session_bits_max": baseline.session_pages_max.bit_length() - 1,
        "suspicious_bits": config.learning.suspicious_bits,
        "quarantine_bits": config.learning.quarantine_score * _BITS_PER_SCORE,
        "report_bits": _REPORT_BITS,
        "evidence_bits": _EVIDENCE_BITS,
        "sensitive": config.sensitive.is_given,
        "grants": config.grants.file is not None,
        **limits,
    }.items():
        loop[name] = value
    return ShardSettings(
        loop=loop[0],
        window_us=int(baseline.window_s * _MICROS),
        half_life_us=int(baseline.half_life_days * _DAY_US),
        agents_max=baseline.agents_max,
        sessions_max=baseline.sessions_max,
        quarantine_us=int(config.learning.quarantine_days * _DAY_US),
        agreement=config.learning.agreement,
        swarm_min=_swarm_min_of(config),
        grants=None if config.grants.file is None else Grants(config.grants.lines),
    )


def _swarm_min_of(config: Config) -> int:
    """Return how many agents of one shard may be part of a flood: no shard has all of it."""
    if not config.flood.agents_min:
        return 0
    return max(config.flood.agents_min // config.events.shards, _SWARM_LEAST)
