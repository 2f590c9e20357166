"""What was new in the open sessions, kept until they end for whoever has to explain one."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from numpy.typing import NDArray

from astray.baseline.records import Finding, dump_findings, load_findings
from astray.events import ANY_TIME_US, Decoded, Event, encode_event, parse_line

FINDINGS_MAX = 8
"""Findings kept per session: the most surprising ones."""

_LINE_BYTES_MAX = 2048
"""A longer line is kept in its short form, without what astray does not read."""

_bits = attrgetter("bits")


Told = tuple[tuple[Any, ...], bytes]
"""Evidence as plain numbers (`buffers.EVIDENCE`), and the line of its event."""


def told_in(evidence: NDArray[Any], decoded: Decoded) -> list[Told]:
    """Return evidence that was found in a chunk, for `Findings.keep`."""
    return list(zip(evidence.tolist(), decoded.texts(evidence["row"]), strict=True))


class Findings:
    """The findings of a shard's open sessions, by the session's number."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Finding, ...]] = {}

    def keep(self, told: Iterable[Told]) -> None:
        """Keep what was told, in its order."""
        for (number, _, place, channel, level, bits, rate, peer_rate, marks), line in told:
            kept = self._kept.get(number, ())
            if len(kept) == FINDINGS_MAX and bits <= kept[-1].bits:
                continue
            found = Finding(bits, channel, level, place, rate, peer_rate, marks, _short(line))
            ordered = sorted((*kept, found), key=_bits, reverse=True)
            self._kept[number] = tuple(ordered[:FINDINGS_MAX])

    def of(self, number: int) -> tuple[Finding, ...]:
        """Return the findings of a session, the most surprising first."""
        return self._kept.get(number, ())

    def drop(self, numbers: Iterable[int]) -> list[tuple[int, tuple[Finding, ...]]]:
        """Forget the findings of sessions that have ended, and return them; most have none."""
        return [(number, self._kept.pop(number)) for number in self._kept.keys() & numbers]

    def dump(self) -> list[Any]:
        """Return the findings as JSON."""
        return [[number, dump_findings(kept)] for number, kept in sorted(self._kept.items())]

    def load(self, dumped: list[Any]) -> None:
        """Take the findings of a dump."""
        for number, kept in dumped:
            self._kept[number] = load_findings(kept)


def _short(line: bytes) -> bytes:
    if len(line) <= _LINE_BYTES_MAX:
        return line
    event = parse_line(line, ANY_TIME_US)
    return encode_event(event) if isinstance(event, Event) else b"{}"
