"""A shard: the agents of some groups, all it has learnt of them, and nothing of an engine.

records = shard.assess(part)
blob = shard.dump()
shard = Shard.load(blob, settings)
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from astray.baseline import snapshot, turn
from astray.baseline.activity import Activity
from astray.baseline.buffers import EVIDENCE_USED, PENDING_USED, RECORD, RECORDS_USED
from astray.baseline.findings import Findings, told_in
from astray.baseline.granting import with_answer
from astray.baseline.judging import Judging
from astray.baseline.layout import STATISTICS
from astray.baseline.memory import SESSIONS, Memory
from astray.baseline.observe import DONE, FEW_ANSWERS, observe, report_open
from astray.baseline.part import Part
from astray.baseline.records import Finding, OpenSessions, Records
from astray.baseline.rehearsal import FIRST_ROW
from astray.baseline.rehearsing import fold_donors
from astray.baseline.room import make_room, oldest_us, sessions_must_end
from astray.baseline.settings import ShardSettings
from astray.baseline.swarms import Swarms
from astray.baseline.waiting import Due, Waiting
from astray.events import Chunk, Decoded
from astray.events.columns import EVENT
from astray.events.places import RESOURCE

_NOTHING = Decoded(Chunk("", 0, b""), np.zeros(0, EVENT), np.zeros(0, RESOURCE), ())


class Shard:
    """The baselines and open sessions of a part of the fleet.

    Events come in stream order and time is theirs. The same events in other batches give
    the same records and the same bytes.
    """

    def __init__(self, number: int, settings: ShardSettings, sources: Sequence[str]) -> None:
        self.number = number
        self.settings = settings
        self.waiting = Waiting(sources)
        self.memory = Memory.new()
        self.findings = Findings()
        self.judging = Judging()
        self._activity = Activity()
        self._swarms = Swarms(settings.swarm_min)
        self._scratch = np.zeros(len(STATISTICS), np.float32)

    @property
    def window_us(self) -> int:
        """The first moment of the window the shard is in; 0 before its first event."""
        return int(self.memory.window["first_us"][0])

    @property
    def agents(self) -> int:
        """The number of agents that have a baseline."""
        return int(np.count_nonzero(self.memory.agents["key"]))

    def assess(self, part: Part) -> list[Records]:
        """Score events, then remember them; those that are ahead of slower sources wait.

        Every chunk of the stream must come here, even if none of its events does: its times
        move the shard's window.
        """
        out: list[Records] = []
        if part.judgements:
            self.judging.hear(part.judgements)
        else:
            self.waiting.add(part)
        while True:
            for due in self.waiting.due(self.window_us):
                self._observe(due, out)
            next_us = self.waiting.next_window_us(self.window_us)
            if not next_us:
                return out
            if self.window_us:
                self._turn(next_us, out)
            else:
                self._enter(next_us, out)

    def _observe(self, due: Due, out: list[Records]) -> None:
        decoded, order, tags = due
        shown = self._activity.shown(decoded, order, self.window_us)
        if shown is not None:
            out.append(self._nothing(shown=shown))
        swarming = self._swarms.swarming(decoded, order, self.window_us)
        if swarming is not None:
            out.append(self._nothing(swarming=swarming))
        place, loop = 0, self.settings.loop
        while place < len(order):
            with np.errstate(over="ignore"):  # only the interpreted form warns
                place, shortage = observe(
                    self.memory, loop, decoded.rows, decoded.resources, tags, order,
                    place, len(order), self._scratch,
                )  # fmt: skip
            self._collect(decoded, out)
            if shortage == FEW_ANSWERS:
                self._ask(decoded, int(order[place]))
            elif shortage != DONE:
                self._make_room(shortage, out)

    def _nothing(self, **beside: Any) -> Records:
        """Return no rows, with what has nothing to do with them."""
        return Records(self.number, self.window_us, np.zeros(0, RECORD), (), (), **beside)

    def _ask(self, decoded: Decoded, row: int) -> None:
        """Ask what grants say of an event."""
        assert self.settings.grants is not None  # noqa: S101 - else the loop would not ask
        asked = with_answer(self.memory.asked, self.settings.grants, decoded, row)
        self.memory = self.memory._replace(asked=asked)

    def _make_room(self, shortage: int, out: list[Records]) -> None:
        if sessions_must_end(self.memory, self.settings, shortage):
            idle_us = int(self.settings.loop["idle_us"])
            self._end_idle(oldest_us(self.memory) + idle_us, out)
        else:
            self.memory = make_room(self.memory, self.settings, shortage)

    def _collect(self, decoded: Decoded, out: list[Records]) -> None:
        """Take what the loop has written about a chunk out of its buffers."""
        memory = self.memory
        counters = memory.counters
        evidence = memory.evidence[: counters[EVIDENCE_USED]]
        counters[EVIDENCE_USED] = 0
        rows = memory.records[: counters[RECORDS_USED]].copy()
        counters[RECORDS_USED] = 0
        findings = self._findings_of(rows, evidence, decoded)
        if len(rows):
            lines = _lines_of(rows, decoded)
            self.judging.names.hear(memory, rows, lines)
            out.append(Records(self.number, self.window_us, rows, lines, findings))

    def _findings_of(
        self, rows: NDArray[Any], evidence: NDArray[Any], decoded: Decoded
    ) -> tuple[tuple[Finding, ...], ...]:
        """Keep the evidence, and return what had been found by the time of each record.

        A session that ends takes along what was found in it.
        """
        findings: list[tuple[Finding, ...]] = [()] * len(rows)
        live, told = np.flatnonzero(rows["row"] >= 0), 0
        evidences = told_in(evidence, decoded)
        untils = np.searchsorted(evidence["row"], rows["row"][live], side="right")
        columns = (live.tolist(), rows["number"][live].tolist(), untils.tolist())
        for place, number, until in zip(*columns, strict=True):
            if until > told:
                self.findings.keep(evidences[told:until])
                told = until
            findings[place] = self.findings.of(number)
        self.findings.keep(evidences[told:])
        over = np.flatnonzero((rows["row"] < 0) & (rows["row"] > FIRST_ROW))
        places = dict(zip(rows["number"][over].tolist(), over.tolist(), strict=True))
        for number, found in self.findings.drop(places):
            findings[places[number]] = found
        return tuple(findings)

    def _enter(
        self, first_us: int, out: list[Records], still_open: tuple[OpenSessions, ...] = ()
    ) -> None:
        """Enter a window, and say so even if nothing happens in it."""
        turn.advance(self.memory, first_us, self.settings.half_life_us)
        nothing = self.memory.records[:0].copy()
        out.append(Records(self.number, first_us, nothing, (), (), open_sessions=still_open))

    def _turn(self, first_us: int, out: list[Records]) -> None:
        """End what is idle, let peers learn, and enter another window."""
        self._end_idle(first_us, out)
        self._teach()
        turn.fold_taught(self.memory)
        still_open = turn.open_sessions(self.memory)
        turn.fold_ranking(self.memory, still_open)
        self._swarms.turn()
        fold_donors(self.memory)
        self.memory = self.judging.turn(self.memory, self.settings, first_us)
        self._enter(first_us, out, still_open)
        if len(told := self.judging.told):
            lines = self.judging.told_lines
            out.append(Records(self.number, first_us, told, lines, ((),) * len(told)))

    def _end_idle(self, now_us: int, out: list[Records]) -> None:
        """End the sessions that are idle by `now_us`."""
        row = 1
        while row < self.memory.used[SESSIONS]:
            row, shortage = turn.end_all_idle(
                self.memory, self.settings.loop, self._scratch, row, now_us
            )
            self._collect(_NOTHING, out)
            if shortage != DONE:
                self._make_room(shortage, out)

    def _teach(self) -> None:
        lessons = turn.lessons_of(self.memory)
        self.memory.counters[PENDING_USED] = 0
        place = 0
        while place < len(lessons):
            place, shortage = turn.teach(
                self.memory, lessons, place, int(self.settings.loop["group_bits_max"])
            )
            if shortage != DONE:
                self.memory = make_room(self.memory, self.settings, shortage)

    def open_sessions(self) -> list[Records]:
        """Return the open sessions as they stand, and change nothing."""
        out: list[Records] = []
        row = 1
        while row < self.memory.used[SESSIONS]:
            row = report_open(self.memory, row)
            rows = self.memory.records[: self.memory.counters[RECORDS_USED]].copy()
            self.memory.counters[RECORDS_USED] = 0
            if len(rows):
                nothing = ((),) * len(rows)
                out.append(Records(self.number, self.window_us, rows, (b"",) * len(rows), nothing))
        return out

    def dump(self) -> bytes:
        """Return everything the shard knows as bytes; see `snapshot`."""
        return snapshot.dump(
            self.number, self.memory, self.findings, self.waiting, self.judging, self._swarms.dump()
        )

    @classmethod
    def load(cls, data: bytes, settings: ShardSettings, sources: Sequence[str]) -> Self:
        """Return the shard of a dump; raises `StateError` where the bytes are not one."""
        loaded = snapshot.load(data)
        shard = cls(loaded.number, settings, sources)
        shard.memory = loaded.memory
        shard.findings.load(loaded.findings)
        shard.waiting.load(*loaded.waiting)
        shard.judging.load(loaded.judging)
        shard._swarms.load(loaded.swarms)
        return shard


def _lines_of(rows: NDArray[Any], decoded: Decoded) -> tuple[bytes, ...]:
    """Return the line of each record; those that no event has made have none."""
    lines = [b""] * len(rows)
    live = np.flatnonzero(rows["row"] >= 0)
    for place, line in zip(live.tolist(), decoded.texts(rows["row"][live]), strict=True):
        lines[place] = line
    return tuple(lines)
