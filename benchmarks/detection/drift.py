"""Fleets in which something changes for good, and what becomes of those it concerns.

An agent takes over the work of one of another group, with its sources and principals; or half of
a group is given a new tool on one day. Nobody is attacked: sessions should be odd for a while,
and settle without a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astray.config import Config
from astray.decide.review import Review
from astray.events import Chunk, decode
from astray.events.ids import ABSENT, pair_id, stable_id
from astray.lab.simulate import Recording
from astray.lab.simulate.catalog import COMMON
from astray.lab.simulate.recording import event_lines
from detection.core import Core, Seam

DAY_MS = 86_400_000
_CHUNK_LINES = 5000
_ANY_TIME_US = 2**60
_SPACES = 12
_TOOL = "newtool.invoke"
_SHARE = 0.8
_SETTLED_OF = 10
"""Sessions have settled where so many in a row are, on average, below a score."""

Flags = NDArray[np.bool_]


def change_roles(recording: Recording, roles: Mapping[int, int], from_ms: int) -> Recording:
    """Return a recording in which agents go on with others' sessions; those agents are gone."""
    late = _begins_ms(recording) >= from_ms
    heirs = {other: agent for agent, other in roles.items()}
    kept = np.ones(len(recording.sessions), np.bool_)
    sessions = list(recording.sessions)
    for number in np.flatnonzero(late).tolist():
        session = sessions[number]
        kept[number] = session.agent not in roles
        sessions[number] = session._replace(agent=heirs.get(session.agent, session.agent))
    columns = recording.columns[kept[recording.columns["session"]]]
    return replace(recording, sessions=sessions, columns=columns)


def roll_out(recording: Recording, agents: Sequence[int], from_ms: int) -> Recording:
    """Return a recording in which agents mostly use a new tool for what they did most."""
    columns = recording.columns.copy()
    owners = np.array([session.agent for session in recording.sessions])[columns["session"]]
    own = np.isin(owners, agents)
    used = np.bincount(columns["action"][own], minlength=len(COMMON) + 1)
    generator = np.random.default_rng(len(columns))
    is_most = columns["action"] == len(COMMON) + int(used[len(COMMON) :].argmax())
    changed = own & is_most & (columns["ts_ms"] >= from_ms)
    changed &= generator.random(len(columns)) < _SHARE
    spaces = [recording.resources.add((f"newtool://spaces/{n}",)) for n in range(_SPACES)]
    columns["action"][changed] = recording.actions.add(_TOOL)
    columns["resource"][changed] = generator.choice(spaces, int(changed.sum()))
    return replace(recording, columns=columns)


def _begins_ms(recording: Recording) -> NDArray[np.int64]:
    begins = np.full(len(recording.sessions), _ANY_TIME_US)
    np.minimum.at(begins, recording.columns["session"], recording.columns["ts_ms"])
    return begins


def settled_agents(recording: Recording, until_ms: int, sessions: int = 64) -> list[int]:
    """Return the agents with so many sessions before a time."""
    early = _begins_ms(recording) < until_ms
    owners = np.array([session.agent for session in recording.sessions])
    counts = np.bincount(owners[early], minlength=len(recording.agents))
    return np.flatnonzero(counts >= sessions).tolist()


@dataclass(frozen=True)
class Course:
    """What became of a recording: its ended sessions, whose they are, and the reviews."""

    recording: Recording
    agents: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    n: NDArray[np.float64]
    reviews: tuple[Review, ...]
    cases: tuple[tuple[str, int], ...]  # agent and time of what opened one

    def of(self, agents: Sequence[int], from_ms: int = 0) -> Flags:
        """Return which sessions are of these agents, and end after a time."""
        return np.isin(self.agents, agents) & (self.end_ms >= from_ms)

    def reviewed(self, agent: int, from_ms: int = 0) -> list[int]:
        """Return after how many sessions since a time reviews of an agent were asked for."""
        name, own = self.recording.agents[agent].name, self.of([agent], from_ms)
        times = [r.ts_us // 1000 for r in self.reviews if r.agent == name]
        return [int((own & (self.end_ms < at)).sum()) for at in times if at >= from_ms]

    def settled_after(self, agent: int, from_ms: int, score: float) -> int | None:
        """Return after how many sessions an agent's are below a score for good; None: never."""
        scores = 20.0 * np.log10(self.n[self.of([agent], from_ms)])
        if len(scores) < _SETTLED_OF:
            return None
        means = np.convolve(scores, np.full(_SETTLED_OF, 1.0 / _SETTLED_OF), "valid")
        odd = np.flatnonzero(means >= score)
        after = int(odd[-1]) + 1 if len(odd) else 0
        return after if after < len(means) else None


def course_of(recording: Recording, config: Config) -> Course:
    """Return what becomes of a recording."""
    core, lines = Core(config, "recording", Seam()), list(event_lines(recording))
    for first in range(0, len(lines), _CHUNK_LINES):
        data = b"".join(lines[first : first + _CHUNK_LINES])
        core.take(decode(Chunk("recording", first, data), _ANY_TIME_US))
    scored = np.concatenate([some for ruling in core.rulings for some in ruling.scored])
    ended = scored[~scored["live"]]
    tenants = [stable_id(agent.tenant) if agent.tenant else ABSENT for agent in recording.agents]
    named = zip(tenants, recording.agents, strict=True)
    numbers = {pair_id(tenant, stable_id(agent.name)): n for n, (tenant, agent) in enumerate(named)}
    return Course(
        recording=recording,
        agents=np.array([numbers[key] for key in ended["agent"].tolist()]),
        end_ms=ended["ts_us"] // 1000,
        n=ended["n"],
        reviews=tuple(review for ruling in core.rulings for review in ruling.reviews),
        cases=tuple(
            {d.case: (d.agent, d.ts_us // 1000) for r in core.rulings for d in r.decisions}.values()
        ),
    )
