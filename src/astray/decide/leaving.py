"""A session that has left quarantine without a verdict: what it had shown is learnt by now."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from astray.baseline.rehearsal import AGREED_ROW
from astray.decide.decision import case_id, chained
from astray.events import clock, known_names


class Why(StrEnum):
    """What has let a session out."""

    AGREED = "agreed"
    EXPIRED = "expired"


_TOLD = {
    Why.AGREED: "its agent's peers have come to show all that was new in it, so it is learnt "
    "like any other",
    Why.EXPIRED: "it had been there long enough, so it is learnt with the weight of a "
    "suspicious one",
}


@dataclass(frozen=True, slots=True)
class Left:
    """A session that has left quarantine at `ts_us` of the stream's time.

    Without `agent` its names are not known: it was kept by an older astray.
    """

    tenant: str
    agent: str
    session: str
    start_us: int
    ts_us: int
    why: Why

    @property
    def case(self) -> str:
        """Return the id of its case, should it have one."""
        return case_id(self.tenant, self.agent, self.session)

    @property
    def id(self) -> str:
        """Return its id: the same however often it is told."""
        return f"left_{chained(self.case, str(self.start_us), str(self.ts_us), self.why):016x}"

    @property
    def sentence(self) -> str:
        """Return what has happened and why, to be read aloud."""
        whose = f"session {self.session}"
        if self.agent:
            tenant = f" of tenant {self.tenant}" if self.tenant else ""
            whose += f" of {self.agent}{tenant}, begun {clock.iso(self.start_us)},"
        return f"{whose} has left quarantine at {clock.iso(self.ts_us)}: {_TOLD[self.why]}"


def left_of(row: np.void, line: bytes) -> Left:
    """Return the session of a record that tells so, and of a line that has its names, if any."""
    start_us, ts_us = int(row["start_us"]), int(row["ts_us"])
    why = Why.AGREED if row["row"] == AGREED_ROW else Why.EXPIRED
    if not line:
        return Left("", "", f"{int(row['session']):016x}", start_us, ts_us, why)
    names = known_names(line)
    session = names.session or f"{names.agent}@{clock.iso(start_us)}"
    return Left(names.tenant, names.agent, session, start_us, ts_us, why)
