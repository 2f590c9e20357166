"""Verdicts about sessions, and the ways out of quarantine; all at the turn of a window.

A false positive is taught as if its session had been clean, and once a day anew until the
verdict ends, so that it does not fade before. A true positive is taken back. An undoing makes
of a session what the gate had made of it. What nobody judges leaves quarantine when it has
been there long enough, with little weight, or when its agent's peers have come to do the same;
that is looked at once a day.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from astray.baseline.buffers import N_JUDGED, N_RELEASED, N_UNMATCHED, RECORD, UNITS
from astray.baseline.judgement import Fate, Judgement, Said
from astray.baseline.keeping import Places, drop, kept_rows, pardon_no_more, trim
from astray.baseline.kept import (
    CONFIRMED,
    EXCUSED,
    HELD,
    PEERS_EXCUSED,
    RELEASED,
    SUSPECT,
)
from astray.baseline.layout import IMPLICIT
from astray.baseline.learning import SUSPICIOUS_UNITS
from astray.baseline.memory import Memory, with_more_pages
from astray.baseline.names import NAMES_MAX, Names
from astray.baseline.pages import release, used_pages
from astray.baseline.rehearsal import AGREED_ROW, EXPIRED_ROW, RESTORED_ROW, STRUCK_ROW
from astray.baseline.revising import (
    excuse_peers,
    excuse_peers_no_more,
    next_agreed,
    take_back,
    teach_again,
)
from astray.baseline.settings import ShardSettings
from astray.events.ids import pair_id

WAITING_MAX: Final = 1 << 16
"""Verdicts that wait for their time; beyond them the latest are not heard, and are counted."""

KNOWN_MAX: Final = 1 << 16
"""Verdicts that are known when they come again."""

_DAY_US: Final = 86_400_000_000
_MILLI_US: Final = 1000
_ROOM: Final = 4
"""Tables that one step can double: the agent's, its group's and its fleet's."""


class Judging:
    """The verdicts that a shard has heard, and what became of them.

    `told` are records of the sessions that the last turn has struck off, restored, or let out
    of quarantine; with a line each that names the last ones.
    """

    def __init__(self) -> None:
        self._waiting: list[Judgement] = []
        self._known: dict[int, bool] = {}  # whether it has found something
        self._unheard = 0
        self.names = Names()
        self.told = np.zeros(0, RECORD)
        self.told_lines: tuple[bytes, ...] = ()

    def hear(self, judgements: Iterable[Judgement]) -> None:
        """Take verdicts; one that is known changes nothing."""
        for judgement in judgements:
            if judgement.id in self._known:
                continue
            if len(self._waiting) == WAITING_MAX:
                self._unheard += 1
                continue
            self._known[judgement.id] = False
            self._waiting.append(judgement)
            if len(self._known) > KNOWN_MAX:
                del self._known[next(iter(self._known))]
        self._waiting.sort()

    def turn(self, memory: Memory, settings: ShardSettings, now_us: int) -> Memory:
        """Give effect to what is due by the window that begins at `now_us`."""
        memory.counters[N_UNMATCHED] += self._unheard
        self._unheard = 0
        due = [judgement for judgement in self._waiting if judgement.at_us <= now_us]
        before = _confirmed_of(memory) if due else set()
        for judgement in due:
            if judgement in self._waiting:  # it may have been undone in the same window
                memory = self._apply(memory, settings, judgement, now_us)
        after = _confirmed_of(memory) if due else set()
        told: list[_Told] = [(STRUCK_ROW, *named, 0) for named in after - before]
        told += [(RESTORED_ROW, *named, 0) for named in before - after]
        is_new_day = now_us // _DAY_US > int(memory.window["first_us"][0]) // _DAY_US
        if len(kept_rows(memory)):
            memory = _hold(memory, settings, now_us)
            if is_new_day:
                memory = _expire(memory, settings, now_us, told)
                memory = _agree(memory, settings, now_us, told)
                trim(memory)
        self._tell(sorted(told, reverse=True), now_us)
        if is_new_day or len(self.names) > NAMES_MAX:
            self.names.forget(memory)
        return memory

    def fates(self) -> dict[int, Fate]:
        """Return what has become of the verdicts that were heard, by their ids.

        A state does not keep it: of what took effect before, it is not known.
        """
        waiting = {one.id for one in self._waiting}
        return {
            id_: Fate.TOOK_EFFECT if found
            else Fate.WAITS if id_ in waiting
            else Fate.FOUND_NOTHING
            for id_, found in self._known.items()
        }  # fmt: skip

    def _tell(self, told: list["_Told"], now_us: int) -> None:
        """Make records of what has become of sessions, in an order that is none of theirs."""
        self.told = np.zeros(len(told), RECORD)
        lines = []
        for record, (row, tenant, session, start_us, agent) in zip(self.told, told, strict=True):
            record["row"], record["tenant"], record["ts_us"] = row, tenant, now_us
            record["session"], record["start_us"], record["agent"] = session, start_us, agent
            is_named = row in (AGREED_ROW, EXPIRED_ROW)
            lines.append(self.names.line_of(session, start_us) if is_named else b"")
        self.told_lines = tuple(lines)

    def _apply(
        self, memory: Memory, settings: ShardSettings, judgement: Judgement, now_us: int
    ) -> Memory:
        rows = kept_rows(memory)
        if judgement.said == Said.UNDONE:
            still = [one for one in self._waiting if one.id != judgement.undoes]
            found = rows["verdict"] == np.uint64(judgement.undoes)
            self._note(judgement, found=len(still) < len(self._waiting) or bool(found.any()))
            self._waiting = still
            self._done(memory, judgement, found)
            for place in np.flatnonzero(found).tolist():
                memory = _restored(memory, settings, place)
            return memory
        ours = _of_session(rows, judgement)
        fresh = ours & (rows["verdict"] != np.uint64(judgement.id))
        if not _is_open(memory, judgement):
            self._done(memory, judgement, ours)
        in_force = not judgement.until_us or judgement.until_us > now_us
        self._note(judgement, found=in_force and bool(ours.any()))
        if judgement.said == Said.CONFIRMED:
            return _confirmed(memory, settings, judgement, fresh, now_us)
        if in_force:
            for place in np.flatnonzero(fresh).tolist():
                memory = _excused(memory, settings, judgement, place, now_us)
        return memory

    def _note(self, judgement: Judgement, *, found: bool) -> None:
        """Take note of whether a verdict has found something, if it is still known."""
        if found and judgement.id in self._known:
            self._known[judgement.id] = True

    def _done(self, memory: Memory, judgement: Judgement, found: Places) -> None:
        self._waiting.remove(judgement)
        memory.counters[N_JUDGED] += 1
        memory.counters[N_UNMATCHED] += not found.any()

    def dump(self) -> dict[str, Any]:
        """Return everything as JSON."""
        waiting, known = list(map(list, self._waiting)), list(self._known)
        return {"waiting": waiting, "known": known, "names": self.names.dump()}

    def load(self, dumped: dict[str, Any]) -> None:
        """Take what was dumped."""
        self._waiting = [Judgement(*one) for one in dumped.get("waiting", ())]
        self._known = dict.fromkeys(dumped.get("known", ()), False)
        self.names.load(dumped.get("names", ()))


_Named = tuple[int, int, int]
_Told = tuple[int, int, int, int, int]
"""What has become of a session, as a record's row; its tenant, key, start, and agent."""


def _confirmed_of(memory: Memory) -> set[_Named]:
    """Return the sessions that are confirmed: tenant, key, start."""
    rows = kept_rows(memory)
    rows = rows[rows["state"] == CONFIRMED]
    names = (rows[name].tolist() for name in ("tenant", "key", "start_us"))
    return set(zip(*names, strict=True))


def compile_judging(memory: Memory) -> None:
    """Have all compiled that a verdict may need, by doing nothing to a row that nobody has."""
    nobody = len(memory.kept) - 1
    take_back(memory, nobody)
    teach_again(memory, nobody, 0.0, 0, 0)
    excuse_peers(memory, nobody, 0)
    excuse_peers_no_more(memory, nobody, 0.0, 0)
    next_agreed(memory, 0, 0.0, 0.0)
    release(memory.pages, memory.kept[nobody])


def _of_session(rows: Any, judgement: Judgement) -> Places:
    """Return which kept sessions a verdict is about."""
    agent, session = np.uint64(judgement.agent), np.uint64(judgement.session)
    meets = (rows["start_us"] <= judgement.last_us) & (rows["last_us"] >= judgement.first_us)
    named = (rows["key"] == session) & meets
    key = np.uint64(pair_id(judgement.agent, int(IMPLICIT)))
    unnamed = (rows["key"] == key) & (rows["start_us"] // _MILLI_US == judgement.start_ms)
    found: Places = (rows["agent"] == agent) & (named | unnamed)
    return found


def _is_open(memory: Memory, judgement: Judgement) -> bool:
    """Return whether some of the session is not over yet."""
    key = np.uint64(pair_id(judgement.agent, int(IMPLICIT)))
    sessions = memory.sessions
    named = sessions["key"] == np.uint64(judgement.session)
    unnamed = (sessions["key"] == key) & (sessions["start_us"] // _MILLI_US == judgement.start_ms)
    return bool(((named & (sessions["start_us"] <= judgement.last_us)) | unnamed).any())


def _with_pages(memory: Memory, settings: ShardSettings) -> Memory:
    """Return the memory with pages for all that one step can need."""
    bits = max(int(settings.loop["agent_bits_max"]), int(settings.loop["group_bits_max"]))
    while used_pages(memory.pages) + (_ROOM << (bits + 1)) > len(memory.pages):
        memory = with_more_pages(memory)
    return memory


def _taught(
    memory: Memory, settings: ShardSettings, place: int, weight: float, *, excused: bool = False
) -> Memory:
    memory = _with_pages(memory, settings)
    take_back(memory, place)
    if weight > 0.0:
        bits_max = int(settings.loop["agent_bits_max"])
        teach_again(memory, place, weight, bits_max, int(excused))
    return memory


def _restored(memory: Memory, settings: ShardSettings, place: int) -> Memory:
    """Return the memory with what a session was before it was judged."""
    pardon_no_more(memory, place)
    row = memory.kept[place]
    row["state"], row["verdict"], row["until_us"] = row["state_before"], 0, 0
    if row["state"] == HELD:
        row["held_us"] = 0  # its time in quarantine has begun when it ended
    return _taught(memory, settings, place, float(row["before"]))


def _judge(memory: Memory, judgement: Judgement, place: int, state: int) -> None:
    """Write down what is said of a session, and what it was before anything was."""
    pardon_no_more(memory, place)
    row = memory.kept[place]
    if row["verdict"] == 0:
        row["before"], row["state_before"] = row["taught"], row["state"]
    row["state"], row["verdict"], row["until_us"] = state, judgement.id, judgement.until_us


def _confirmed(
    memory: Memory, settings: ShardSettings, judgement: Judgement, fresh: Places, now_us: int
) -> Memory:
    """Take a session back, and what its agent has learnt from suspicious ones after it."""
    rows = kept_rows(memory)
    if not fresh.any():
        return memory
    last_us = int(rows["last_us"][fresh].max())
    later = (rows["agent"] == np.uint64(judgement.agent)) & (rows["start_us"] > last_us)
    later &= (rows["state"] == HELD) & (rows["units"] < UNITS)
    for state, places in ((CONFIRMED, fresh), (SUSPECT, later)):
        for place in np.flatnonzero(places).tolist():
            _judge(memory, judgement, place, state)
            memory.kept[place]["held_us"] = now_us
            memory = _taught(memory, settings, place, 0.0)
    return memory


def _excused(
    memory: Memory, settings: ShardSettings, judgement: Judgement, place: int, now_us: int
) -> Memory:
    peers = judgement.said == Said.PEERS_EXCUSED
    _judge(memory, judgement, place, PEERS_EXCUSED if peers else EXCUSED)
    return _as_good_as_new(memory, settings, place, now_us)


def _as_good_as_new(memory: Memory, settings: ShardSettings, place: int, now_us: int) -> Memory:
    """Teach what is excused as if it happened now."""
    weight = float(memory.window["weight"][0])
    memory = _taught(memory, settings, place, weight, excused=True)
    if memory.kept[place]["state"] == PEERS_EXCUSED:
        excuse_peers(memory, place, int(settings.loop["group_bits_max"]))
    memory.kept[place]["held_us"] = now_us
    return memory


def _hold(memory: Memory, settings: ShardSettings, now_us: int) -> Memory:
    """Keep what is excused from fading until its verdict ends; then let it fade."""
    rows = kept_rows(memory)
    excused = (rows["state"] == EXCUSED) | (rows["state"] == PEERS_EXCUSED)
    weight = float(memory.window["weight"][0])
    over = excused & (rows["until_us"] > 0) & (rows["until_us"] <= now_us)
    for place in np.flatnonzero(over).tolist():
        memory = _with_pages(memory, settings)
        pardon_no_more(memory, place, weight, int(settings.loop["group_bits_max"]))
        rows["state"][place], rows["held_us"][place] = RELEASED, now_us
    fading = excused & ~over & (rows["held_us"] + _DAY_US <= now_us)
    for place in np.flatnonzero(fading).tolist():
        memory = _as_good_as_new(memory, settings, place, now_us)
    return memory


def _expire(memory: Memory, settings: ShardSettings, now_us: int, told: list[_Told]) -> Memory:
    """Let out who has been in quarantine long enough, and forget what nobody will ask about."""
    if not settings.quarantine_us:
        return memory
    rows = kept_rows(memory)
    over = np.maximum(rows["last_us"], rows["held_us"]) + settings.quarantine_us <= now_us
    over &= (rows["state"] != EXCUSED) & (rows["state"] != PEERS_EXCUSED)
    free = over & (rows["taught"] == 0.0) & (rows["state"] != CONFIRMED)
    weight = float(memory.window["weight"][0]) * SUSPICIOUS_UNITS / UNITS
    places = np.flatnonzero(free).tolist()
    told += _leaving(memory, places, EXPIRED_ROW)
    memory = _released(memory, settings, places, weight, now_us)
    drop(memory, over)
    return memory


def _agree(memory: Memory, settings: ShardSettings, now_us: int, told: list[_Told]) -> Memory:
    """Let out of quarantine what many clean sessions of peers show."""
    if not settings.agreement > 0.0:
        return memory
    known = float(settings.loop["known_weight"])
    weight = float(memory.window["weight"][0])
    place = next_agreed(memory, 0, known, settings.agreement)
    while place >= 0:
        told += _leaving(memory, (place,), AGREED_ROW)
        memory = _released(memory, settings, (place,), weight, now_us)
        place = next_agreed(memory, place + 1, known, settings.agreement)
    return memory


def _leaving(memory: Memory, places: Sequence[int], row: int) -> list[_Told]:
    """Return what is to be told of sessions that leave quarantine."""
    rows = kept_rows(memory)[list(places)]
    names = ("tenant", "key", "start_us", "agent")
    return [(row, *one) for one in rows[list(names)].tolist()]


def _released(
    memory: Memory, settings: ShardSettings, places: Sequence[int], weight: float, now_us: int
) -> Memory:
    for place in places:
        memory = _taught(memory, settings, place, weight)
        memory.kept[place]["state"], memory.kept[place]["held_us"] = RELEASED, now_us
        memory.counters[N_RELEASED] += 1
    return memory
