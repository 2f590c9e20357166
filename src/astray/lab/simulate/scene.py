"""A recording as an attacker finds it: who does what to what, and where one can slip in.

Everything malicious is made from copies of recorded events, changed where the attack needs
it. So a field that the recording lacks is lacking in the attack too.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from astray.errors import ConfigError
from astray.lab.simulate.recording import (
    ABSENT,
    DENIED,
    REFUSAL_BYTES_MAX,
    SUCCESS,
    Columns,
    Floats,
    Ints,
    Recording,
    Session,
)

_NEAR_MS: Final = 20 * 60_000
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_KNOWN_EVENTS_MIN: Final = 50  # of an agent, so that there is something to imitate
_COPY_EVENTS_MAX: Final = 200
_SQUEEZE_MAX: Final = 5.0  # how much faster than meant an attack may be to fit into a pause
# What tells one resource from the next: its last word with a digit, else its last word but for
# a file's suffix.
_NUMBER: Final = re.compile(r"[0-9A-Za-z]*\d[0-9A-Za-z]*(?=\D*$)")
_LAST_WORD: Final = re.compile(r"[0-9A-Za-z]+(?=(\.\w{1,5})?\W*$)")
# What tells whose it is: the host without its top-level domain, or the bucket.
_HOST: Final = re.compile(r"(?<=s3://)[^/]+|((?<=//)[^/]+|(?<=@)[^@/]+)(?=\.[^./@]+(/|$))")


class Index:
    """The rows of a table by the value of one column, each in the order of the table."""

    def __init__(self, values: Ints, count: int) -> None:
        self._order = np.argsort(values, kind="stable")
        self._ends = np.cumsum(np.bincount(values, minlength=count))

    def __getitem__(self, value: int) -> Ints:
        return self._order[self._ends[value - 1] if value else 0 : self._ends[value]]


@dataclass(frozen=True, slots=True)
class Host:
    """A session that an attack enters: its number and its events, in time order.

    `rows` says where these stand in the recording; it is empty for a session that was made up.
    """

    session: int
    agent: int
    events: Columns
    rows: Ints


class Scene:
    """What attacks need to know of a recording, and what they add to it.

    Parameters
    ----------
    recording
        Normal behaviour. Its vocabularies and its list of sessions grow with every attack.
    hosts
        The sessions that attacks may enter.
    test_from_ms
        No attack begins before this time.
    movable
        Whether events of a host may be delayed to make room, or must stay as recorded.

    Without groups all other agents count as peers and as strangers. Without sessions to enter
    a copy of one of the victim's is made, at a time at which the victim usually works. Once the
    time of an attack is chosen, only what has happened by then is known.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        hosts: Iterable[int],
        test_from_ms: int,
        rng: Generator,
        movable: bool,
    ) -> None:
        self.recording = recording
        self.columns = recording.columns
        self.test_from_ms = test_from_ms
        self.end_ms = max(test_from_ms, int(recording.columns["ts_ms"][-1]))
        self.rng = rng
        self.movable = movable
        self.added: list[Columns] = []
        self._times_ms = self.columns["ts_ms"].copy()
        self._past = len(self.columns)  # rows before this one are known
        self.taken: set[int] = set()
        self._agent_of = np.array([session.agent for session in recording.sessions])
        agents = self._agent_of[self.columns["session"]]
        self._by_agent = Index(agents, len(recording.agents))
        self._by_session = Index(self.columns["session"], len(recording.sessions))
        self._actions_recorded = len(recording.actions)
        self._by_action = Index(self.columns["action"], self._actions_recorded)
        self._numbers_of: dict[str | None, list[int]] = defaultdict(list)
        self._active = np.unique(agents).tolist()
        for agent in self._active:
            self._numbers_of[recording.agents[agent].group].append(agent)
        self._hosts: dict[int, list[int]] = defaultdict(list)
        for session in hosts:
            self._hosts[int(self._agent_of[session])].append(session)

    def of(self, agent: int) -> Ints:
        """Return the rows of what `agent` has done by now, or of the first that it ever does."""
        return self._known(self._by_agent[agent])

    def doing(self, action: int) -> Ints:
        """Return the rows in which anybody does `action`; none if it was made up since."""
        recorded = action < self._actions_recorded
        return self._known(self._by_action[action]) if recorded else np.empty(0, np.int64)

    def _known(self, rows: Ints) -> Ints:
        return rows[: max(_KNOWN_EVENTS_MIN, int(np.searchsorted(rows, self._past)))]

    def _turn_to(self, time_ms: int) -> None:
        self._past = int(np.searchsorted(self._times_ms, time_ms, side="right"))

    def peers(self, agent: int) -> list[int]:
        """List the agents of the same group, `agent` among them; all agents if it has no group."""
        group = self.recording.agents[agent].group
        return self._active if group is None else self._numbers_of[group]

    def stranger(self, agent: int) -> int:
        """Choose an agent of another group; failing that any other agent, failing that itself."""
        peers = set(self.peers(agent))
        others = [other for other in self._active if other not in peers]
        others = others or [other for other in self._active if other != agent] or [agent]
        return self.choose(others)

    def choose(self, items: list[int]) -> int:
        """Choose one of `items`."""
        return items[int(self.rng.integers(len(items)))]

    def chance(self, share: float) -> bool:
        """Return True in this share of the calls."""
        return bool(self.rng.random() < share)

    def between(self, low: float, high: float) -> float:
        """Draw a number between two positive bounds, small ones as often as large ones."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def sample(self, rows: Ints, count: int) -> Columns:
        """Copy `count` events out of `rows`."""
        copies: Columns = self.columns[self.rng.choice(rows, count)]
        return copies

    def named(self, rows: Ints, pattern: re.Pattern[str]) -> Ints:
        """Keep those of `rows` whose action matches `pattern`."""
        numbers = np.unique(self.columns["action"][rows])
        fitting = [n for n in numbers.tolist() if pattern.search(self.recording.actions[n])]
        return rows[np.isin(self.columns["action"][rows], fitting)]

    def with_resource(self, rows: Ints) -> Ints:
        """Keep those of `rows` that name a resource; all of them if none does."""
        having = rows[self.columns["resource"][rows] != ABSENT]
        return having if len(having) else rows

    def calling(self, rows: Ints) -> Ints:
        """Keep those of `rows` that call another agent."""
        return rows[self.columns["target"][rows] != ABSENT]

    def foreign(self, agent: int, count: int) -> Columns:
        """Copy strangers' events, on resources that `agent` never touches."""
        own = self._touched(agent)
        acts = [self._foreign_act(agent, own) for _ in range(count)]
        return np.concatenate(acts)

    def _touched(self, agent: int) -> Ints:
        """List all that `agent` ever touches, and ABSENT."""
        return np.append(np.unique(self.columns["resource"][self._by_agent[agent]]), ABSENT)

    def covert(self, agent: int, count: int) -> Columns:
        """Copy what `agent` does, on others' resources of the same sort.

        Taken where `agent` returns to the same resources: where all are new to it, nothing
        would be foreign.
        """
        rows = self.of(agent)
        met = np.unique(self.columns[["resource", "session"]][rows])["resource"]
        again, sessions = np.unique(met[met != ABSENT], return_counts=True)
        habitual = rows[np.isin(self.columns["resource"][rows], again[sessions > 1])]
        acts = self.sample(habitual if len(habitual) else self.with_resource(rows), count)
        own = self._touched(agent)
        for act in acts:
            used = np.unique(self.columns["resource"][self.doing(int(act["action"]))])
            others = np.setdiff1d(used, own)
            guess = self.sibling(int(act["resource"]))
            act["resource"] = self.rng.choice(others) if len(others) else guess
        return acts

    def _foreign_act(self, agent: int, own: Ints) -> Columns:
        rows = self.with_resource(self.of(self.stranger(agent)))
        unknown = rows[~np.isin(self.columns["resource"][rows], own)]
        act = self.sample(unknown if len(unknown) else rows, 1)
        if not len(unknown):
            act["resource"] = self.sibling(int(act["resource"][0]))
        return act

    def sibling(self, resource: int) -> int:
        """Make a new resource that differs from `resource` in its number or its last word."""
        return self._renamed(resource, (_NUMBER, _LAST_WORD))

    def outside(self, resource: int) -> int:
        """Make a new resource of the same form that belongs to somebody else.

        A URL, a bucket or a mail address gets another host, anything else another number.
        """
        return self._renamed(resource, (_HOST, _NUMBER, _LAST_WORD))

    def _renamed(self, resource: int, parts: Iterable[re.Pattern[str]]) -> int:
        if resource == ABSENT:
            return ABSENT
        name = self.recording.resources[resource][0]
        found = next(filter(None, (part.search(name) for part in parts)), None)
        begin, end = found.span() if found else (len(name), len(name))
        renamed = name[:begin] + self._scrambled(name[begin:end]) + name[end:]
        return self.recording.resources.add((renamed if renamed != name else f"{name}-x",))

    def _scrambled(self, word: str) -> str:
        """Replace digits by digits and letters by letters; a hexadecimal word stays one."""
        letters = "abcdef" if _HEX.fullmatch(word) else "abcdefghijklmnopqrstuvwxyz"
        draws = self.rng.integers(0, 10 * len(letters), len(word)).tolist()
        return "".join(
            str(draw % 10) if old.isdigit() else letters[draw // 10] if old.isalpha() else old
            for old, draw in zip(word, draws, strict=True)
        )

    def pace_s(self, agent: int, count: int, speed: float = 1.0) -> Floats:
        """Draw pauses as `agent` makes them, `speed` times as fast."""
        pauses_s = np.diff(self._some_session(agent)["ts_ms"]) / 1000
        usual_s = float(np.clip(np.median(pauses_s), 0.2, 120.0)) if len(pauses_s) else 5.0
        return usual_s / speed * np.exp(self.rng.normal(0.0, 0.8, count))

    def settle(self, acts: Columns, denied_share: float = 0.0) -> Columns:
        """Let `acts` succeed, but for a share that is refused; where outcomes are recorded."""
        known = acts["outcome"] != ABSENT
        refused = known & (self.rng.random(len(acts)) < denied_share)
        acts["outcome"][known] = SUCCESS
        acts["outcome"][refused] = DENIED
        acts["bytes"][refused] = np.minimum(acts["bytes"][refused], REFUSAL_BYTES_MAX)
        return acts

    def victim(self, *, hosts_min: int = 1, fresh: bool = False) -> int:
        """Choose an agent to attack, if possible one with `hosts_min` sessions to enter.

        `fresh` asks for an agent that no campaign has taken yet; it is taken from now on. A new
        attack begins here, its time not chosen yet.
        """
        self._past = len(self.columns)
        allowed = [a for a in self._active if not (fresh and a in self.taken)]
        if not allowed:
            raise ConfigError(
                [f"more campaigns than the {len(self._active)} agents of the recording"]
            )
        fitting = [agent for agent in allowed if len(self._hosts[agent]) >= hosts_min]
        victim = self.choose(fitting or allowed)
        if fresh:
            self.taken.add(victim)
        return victim

    def hosts(self, agent: int, count: int) -> list[Host]:
        """Find sessions of `agent` to enter, in time order; each is handed out once.

        Copies make up for what is missing. The attack takes place at the time of the first.
        """
        free = self._hosts[agent]
        chosen = [free.pop(int(self.rng.integers(len(free)))) for _ in range(min(count, len(free)))]
        entered = [self._enter(agent, session) for session in chosen]
        copies = [self._copy(agent) for _ in range(count - len(chosen))]
        hosts = sorted([*entered, *copies], key=lambda host: int(host.events["ts_ms"][0]))
        self._turn_to(int(hosts[0].events["ts_ms"][0]))
        return hosts

    def host(self, agent: int) -> Host:
        """Find one session of `agent` to enter."""
        return self.hosts(agent, 1)[0]

    def _enter(self, agent: int, session: int) -> Host:
        rows = self._by_session[session]
        return Host(session, agent, self.columns[rows], rows)

    def _copy(self, agent: int) -> Host:
        moment_ms = self.moment_ms(agent)
        events = self._some_session(agent)
        events["ts_ms"] += moment_ms - events["ts_ms"][0]
        events["session"] = self._open(agent)
        self.added.append(events)
        return Host(int(events["session"][0]), agent, events, np.empty(0, np.int64))

    def _some_session(self, agent: int) -> Columns:
        row = int(self.rng.choice(self.of(agent)))
        rows = self._by_session[int(self.columns["session"][row])]
        copies: Columns = self.columns[rows[:_COPY_EVENTS_MAX]]
        return copies

    def moment_ms(self, agent: int) -> int:
        """Choose a time, after the warm-up, at which `agent` might be at work.

        The attack takes place at that time.
        """
        times_ms = self._times_ms[self._by_agent[agent]]
        late = times_ms[times_ms >= self.test_from_ms]
        if len(late):
            moment_ms = int(self.rng.choice(late)) + int(self.rng.integers(-_NEAR_MS, _NEAR_MS))
        else:
            moment_ms = int(self.rng.integers(self.test_from_ms, self.end_ms + 1))
        self._turn_to(max(self.test_from_ms, moment_ms))
        return max(self.test_from_ms, moment_ms)

    def _open(self, agent: int) -> int:
        name = f"s{int(self.rng.integers(1 << 48)):012x}"
        self.recording.sessions.append(Session(name, agent, "test"))
        return len(self.recording.sessions) - 1

    def begin(self, agent: int, acts: Columns, gaps_s: Floats, begin_ms: int) -> int:
        """Add a session of `agent` that consists of nothing but `acts`; returns its number.

        It comes from where the agent comes from, on behalf of whom it works for. The scene keeps
        `acts` itself: what the caller changes afterwards counts.
        """
        usual = self.sample(self.of(agent), 1)[0]
        acts["session"] = self._open(agent)
        acts["source"], acts["principal"] = usual["source"], usual["principal"]
        offsets_ms = np.floor((np.cumsum(gaps_s) - gaps_s[0]) * 1000).astype(np.int64)
        self._add(acts, min(begin_ms, self.end_ms) + offsets_ms)
        return int(acts["session"][0])

    def strike(self, host: Host, acts: Columns, gaps_s: Floats) -> int:
        """Add `acts` somewhere in the host, in its name; returns the session's number."""
        times_ms = host.events["ts_ms"]
        offsets_ms = np.floor(np.cumsum(gaps_s) * 1000).astype(np.int64)
        if self.movable and len(host.rows):
            after = int(self.rng.integers(len(times_ms) // 3, len(times_ms)))
            self.columns["ts_ms"][host.rows[after + 1 :]] += offsets_ms[-1]
        else:
            after, squeeze = _widest_pause(times_ms, int(offsets_ms[-1]))
            offsets_ms = np.floor(offsets_ms / squeeze).astype(np.int64)
        here = host.events[after]
        acts["session"] = host.session
        acts["source"], acts["principal"] = here["source"], here["principal"]
        self._add(acts, int(times_ms[after]) + offsets_ms)
        return host.session

    def _add(self, acts: Columns, times_ms: Ints) -> None:
        acts["ts_ms"] = times_ms
        acts["bad"] = True
        self.added.append(acts)

    def mark(self, number: int, attack: str) -> None:
        """Label a session as attacked."""
        sessions = self.recording.sessions
        sessions[number] = sessions[number]._replace(attack=attack)

    def forget_task(self, number: int) -> None:
        """Say nothing of whether the task of a session is known."""
        sessions = self.recording.sessions
        sessions[number] = sessions[number]._replace(known_task=None)

    def added_columns(self) -> Columns:
        """Everything that was added, in no particular order."""
        return np.concatenate([self.columns[:0], *self.added])


def _widest_pause(times_ms: Ints, needed_ms: int) -> tuple[int, float]:
    """Find where an attack fits best between events that must stay where they are.

    Returns after which event, not among the first third, and how much faster the attack has to
    be; where that is too much it comes at the end.
    """
    first = len(times_ms) // 3
    pauses_ms = np.diff(times_ms)[first:]
    if not len(pauses_ms):
        return len(times_ms) - 1, 1.0
    widest = int(pauses_ms.argmax())
    squeeze = needed_ms / max(1.0, 0.9 * float(pauses_ms[widest]))
    return (
        (len(times_ms) - 1, 1.0) if squeeze > _SQUEEZE_MAX else (first + widest, max(1.0, squeeze))
    )
