"""What each part is worth: families off, gating off, peers off, other fusions, more attackers.

Where the configuration has a switch it is used; otherwise an experiment steps in at a seam of
the bench's own run. The product is never patched.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from astray.baseline.fusion import FAMILIES, FAMILY_OF
from astray.baseline.layout import AGE_CLASSES
from astray.baseline.records import Records
from astray.config import load_config
from astray.events import Decoded
from baselines.protocol import Key
from detection.core import Run, Seam
from detection.evaluating import Labels, Numbers, quality_of, ranking_of, run_of, tested
from detection.measures import measured
from detection.recordings import Recording

_KEPT = ("roc_auc", "pr_auc", "recall_at_0.05", "recall_at_0.01", "recall_at_0.001",
         "realised_0.01", "realised_0.001")  # fmt: skip

NEVER_BITS = 1e6
"""No session has so many bits: none looks suspicious to a shard that waits for them."""

Overrides = Mapping[str, Mapping[str, float]]
Ablation = tuple[Overrides, Seam]
Bits = NDArray[np.float32]
Fuse = Callable[[Bits], NDArray[np.float64]]


def without_family(family: str) -> Seam:
    """Return a seam at which a family's statistics are as if nothing had ever been odd.

    Shards still gate learning by all of them: they have no switch for that.
    """
    places = np.flatnonzero(FAMILIES.index(family) == FAMILY_OF)

    def blanked(records: Records) -> Records:
        rows = records.rows.copy()
        rows["statistic"][:, places] = 0.0
        return replace(records, rows=rows)

    return Seam(records=blanked)


def without_peers() -> Seam:
    """Return a seam at which every agent is a group of its own; the fleet is still known."""

    def alone(decoded: Decoded) -> Decoded:
        rows = decoded.rows.copy()
        rows["group"] = rows["agent"]
        return replace(decoded, rows=rows)

    return Seam(decoded=alone)


def ungated() -> Overrides:
    """Return the configuration with which odd sessions teach like all others."""
    return {"learning": {"suspicious_bits": NEVER_BITS, "quarantine_score": 180.0}}


def ablations() -> dict[str, Ablation]:
    """Return what is switched off, by name: changes of the configuration, and a seam."""
    families: dict[str, Ablation] = {
        f"without {family}": ({}, without_family(family)) for family in FAMILIES
    }
    return {
        **families,
        "without peers": ({}, without_peers()),
        "without gating": (ungated(), Seam()),
    }


def ablated(recording: Recording, name: str) -> Numbers:
    """Return the measures of a recording with one thing switched off."""
    changes, seam = ablations()[name]
    return kept(quality_of(recording, load_config(overrides=changes), seam))


def kept(quality: Numbers) -> Numbers:
    """Return what of a recording's numbers experiments are compared by."""
    return {name: quality["measures"][name] for name in _KEPT if name in quality["measures"]}


# ---- fusion and recalibration ---------------------------------------------------------------
def _norm(bits: Bits) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.sum(bits.astype(float) ** 2, axis=1)))


def _sum(bits: Bits) -> NDArray[np.float64]:
    return np.asarray(bits.sum(axis=1, dtype=float))


def _largest(bits: Bits) -> NDArray[np.float64]:
    return np.asarray(bits.max(axis=1), float)


def _families(bits: Bits) -> NDArray[np.float64]:
    """Average within families, then the larger of an average and a sum of excesses."""
    powers = np.exp2(bits.astype(float))
    members = [place == FAMILY_OF for place in range(len(FAMILIES))]
    each = np.array([np.log2(powers[:, some].mean(axis=1)) for some in members])
    across = np.log2(np.exp2(each).mean(axis=0))
    return np.asarray(np.maximum(across, np.maximum(each - 3.0, 0.0).sum(axis=0)))


FUSIONS: Mapping[str, Fuse] = {
    "norm": _norm,
    "sum": _sum,
    "largest": _largest,
    "averages of families": _families,
}


def fused_otherwise(recording: Recording) -> Numbers:
    """Return the measures of other fusions of the same ranked statistics, and without ranking.

    What a session teaches stays as it was under the product's own fusion.
    """
    labels = recording.labels()
    done, keys = run_of(recording, labels), tested(labels)
    found: Numbers = {}
    for name, fuse in FUSIONS.items():
        found[f"{name}, ranked again"] = _compared(reranked(done, fuse), labels, keys)
        found[f"{name}, not ranked again"] = _compared(unranked(done, fuse), labels, keys)
    raw = {key: float(np.linalg.norm(values)) for key, values in done.statistics().items()}
    found["norm of statistics that nothing ranks"] = _compared(raw, labels, keys)
    return found


def _compared(scores: Mapping[Key, float], labels: Labels, keys: list[Key]) -> Numbers:
    measures = measured(ranking_of(scores, labels, keys))
    return {name: value for name, value in measures.items() if name in _KEPT}


def unranked(done: Run, fuse: Fuse) -> dict[Key, float]:
    """Return the largest fused number of each session."""
    return _largest_of(done, [fuse(bits) for _, bits in done.ranked])


def reranked(done: Run, fuse: Fuse) -> dict[Key, float]:
    """Return the largest n of each session: fused numbers ranked among those of past sessions."""
    past = [np.zeros(0) for _ in range(AGE_CLASSES)]
    waiting: list[list[float]] = [[] for _ in range(AGE_CLASSES)]
    every: list[NDArray[np.float64]] = []
    for rows, bits in done.ranked:
        fused, n = fuse(bits), np.ones(len(rows))
        for age in range(AGE_CLASSES):
            of_age = rows["age"] == age
            reaching = len(past[age]) - np.searchsorted(past[age], fused[of_age])
            n[of_age] = (len(past[age]) + 1.0) / (reaching + 1.0)
            waiting[age] += fused[of_age & (rows["row"] < 0)].tolist()
            if len(waiting[age]) * 20 >= len(past[age]) and waiting[age]:
                past[age] = np.sort(np.concatenate((past[age], waiting[age])))
                waiting[age] = []
        every.append(n)
    return _largest_of(done, every)


def _largest_of(done: Run, values: list[NDArray[np.float64]]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    names = done.names
    for (rows, _), numbers in zip(done.ranked, values, strict=True):
        columns = [rows[name].tolist() for name in ("session", "agent", "start_us")]
        for session, agent, start_us, value in zip(*columns, numbers.tolist(), strict=True):
            key = names.of(session, agent, start_us)[1:]
            found[key] = max(value, found.get(key, 0.0))
    return found
