"""Whose sessions cases are about: the id of a case follows from what its session is called.

whose = sessions_of({"case_6e68c33234525943"}, ["events.jsonl"])
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from astray.decide.decision import case_id
from astray.events import ANY_TIME_US, Decoded, clock, decode, known_names
from astray.lab.seeking import chunks_of


def sessions_of(cases: Collection[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the tenant, agent and session of cases, as far as they are in a recording.

    A session that its events do not name is called by when it began: at any of them.

    Raises
    ------
    SourceError
        A source cannot be read to its end.
    """
    found: dict[str, dict[str, str]] = {}
    seen: set[int] = set()
    for chunk in chunks_of(names, {}):
        for tenant, agent, session in _sessions(decode(chunk, ANY_TIME_US), seen):
            case = case_id(tenant, agent, session)
            if case in cases:
                found[case] = {"tenant": tenant, "agent": agent, "session": session}
    return found


def _sessions(decoded: Decoded, seen: set[int]) -> Iterator[tuple[str, str, str]]:
    """Name the sessions of a chunk: those with a name once, others by each of their events."""
    keys, firsts = np.unique(decoded.rows["session"], return_index=True)
    unnamed = np.flatnonzero(decoded.rows["session"] == 0).tolist()
    fresh = [(key, row) for key, row in zip(keys.tolist(), firsts.tolist(), strict=True) if key]
    for row in (*unnamed, *(row for key, row in fresh if key not in seen)):
        who = known_names(decoded.line(row))
        at = clock.iso(int(decoded.rows["ts_us"][row]))
        yield who.tenant, who.agent, who.session or f"{who.agent}@{at}"
    seen.update(keys.tolist())
