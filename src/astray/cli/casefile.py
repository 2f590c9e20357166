"""Cases as people see them, on standard output."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from astray.decide.wording import counted
from astray.events.clock import iso
from astray.store import Case, CaseFile

_WIDTH = 200
"""How wide a table may be where there is no terminal."""

_MICROS = 1_000_000
_COLUMNS = ("case", "changed", "level", "score", "suspension", "agent", "session")


def printable(text: str) -> str:
    """Return a text that has no power over the terminal; names come from outside."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def output() -> Console:
    """Return standard output, as wide as is of use."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


def say(console: Console, line: str) -> None:
    """Print a line as it is."""
    console.print(Text(printable(line)), soft_wrap=True)


def show_cases(cases: Iterable[Case]) -> None:
    """Print a table of cases."""
    table = Table(*_COLUMNS, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for case in cases:
        cells = (
            case.case_id, _at(case.updated_s), _kind(case), f"{case.score:.1f}",
            case.suspension or "-", case.agent or "-", case.session or "-",
        )  # fmt: skip
        table.add_row(*(Text(printable(cell)) for cell in cells))
    output().print(table)


def _kind(case: Case) -> str:
    """Return what a case is about where it is not a session, otherwise how bad that is."""
    return "review" if case.is_review else case.silence or case.level


def show_case(file: CaseFile) -> None:
    """Print all about a case."""
    console = output()
    for line in _lines(file):
        say(console, line)


def _lines(file: CaseFile) -> Iterator[str]:
    case = file.case
    whose = f"session {case.session} of {case.agent}" if case.session else case.agent
    if file.review is not None:
        whose = f"{file.review.title}: {file.review.sentence}"
    odd = f"{case.level}, score {case.score:.2f}, 1 in {round(case.n):,}"
    of_session = case.silence is None and not case.is_review
    yield f"{case.case_id}: {odd if of_session else _kind(case)}"
    yield f"{whose}{f' of tenant {case.tenant}' if case.tenant else ''}".strip()
    yield f"events {iso(case.first_event_us)} to {iso(case.last_event_us)}"
    yield f"suspension: {case.suspension or 'none'}"
    for decision in file.decisions:
        yield from _decided(decision)
    for sent in file.deliveries:
        how = f"{sent.state} after {counted(sent.attempts, 'attempt', 'attempts')}"
        why = f": {sent.last_error}" if sent.last_error else ""
        yield f"webhook {sent.webhook_id} to {sent.endpoint}: {how}{why}"
    for told in file.verdicts:
        yield f"verdict {told['id']} of {told['ts']}: {_verdict(told)}"
    for act in file.acts:
        yield f"{_at(act.at_s)} {act.who}: {act.did} {act.about} {act.note}".rstrip()


def _decided(decision: Mapping[str, Any]) -> Iterator[str]:
    why = f" ({decision['withheld']})" if decision["withheld"] else ""
    yield (
        f"decided at {iso(decision['ts_us'])}: {decision['level']}{why}, "
        f"score {decision['score']:.2f}, policy {decision['policy']}, {decision['id']}"
    )
    for reason in decision["evidence"]:
        yield f"  {reason['share']:4.0%} {reason['sentence']}"


def _verdict(told: Mapping[str, Any]) -> str:
    scope = f", scope {told['scope']}" if told["scope"] else ""
    until = f", for {told['ttl']}" if told["ttl"] else ""
    undoes = f" {told['undoes']}" if told["undoes"] else ""
    return f"{told['verdict']}{undoes}{scope}{until} by {told['analyst']}"


def _at(at_s: float) -> str:
    return iso(round(at_s * _MICROS))
