"""The results as a card that people read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detection.targets import MISS

_TRIED = Path(__file__).with_name("tried.md")
"""What was tried for the targets that are missed."""

_SESSIONS_MIN = 10
"""Attacked sessions below which a share says nothing."""

_EXPLAINED = """Session level, phase `test`, no label used, every event scored before it was learnt,
one default configuration for all sets. Intervals are the middle 90 % over draws of agents, for
`simulate` the lowest and the highest seed. `realised_r` is the share of benign sessions at or
beyond 1 in 1/r, divided by r. `ahead_of` is the least lead in ROC-AUC and PR-AUC over a baseline,
whose aggregation over a session is the best for it. `with` is what detectors of river's, beside the
default configuration, add to a measure; `tagged` has all that intruders reach for as `[sensitive]`.
"""


def card(document: Mapping[str, Any]) -> str:
    """Return the card of a bench's document."""
    results = document["results"]
    rows = results["rows"]
    missed = sum(row["verdict"] == MISS for row in rows)
    return "\n".join(
        [
            "# How well the default model detects",
            "",
            _origin(document, len(rows), missed),
            "",
            _EXPLAINED,
            *_table(
                ("row", "measured", "interval", "target", ""),
                (
                    (row["id"], _number(row["value"]), _range(row["interval"]), _target(row),
                     row["verdict"] if _target(row) else "")
                    for row in rows
                ),
            ),
            *_sections(results),
        ]
    )  # fmt: skip


def _origin(document: Mapping[str, Any], rows: int, missed: int) -> str:
    changed = ", with changes that are not in it" if document["dirty"] else ""
    return (
        f"Written by `benchmarks/quality.py --save` at commit {document['commit']}{changed}: "
        f"{rows} rows, {missed} missed."
    )


def _sections(results: Mapping[str, Any]) -> Iterable[str]:
    if results["absent"]:
        yield f"\nNot there, so not measured: {', '.join(results['absent'])}."
    yield ""
    yield _TRIED.read_text(encoding="utf-8").rstrip()
    yield f"\n## By kind of attack, from {_SESSIONS_MIN} sessions on\n"
    yield from _attacks(results["sets"])
    for title, name in (
        ("Ablations", "ablations"),
        ("Fusion and recalibration", "fusions"),
        ("Contamination: attacks in the stream, in per cent of its sessions", "contamination"),
        ("With detectors of one's own beside the default", "plugins"),
    ):
        for recording, found in results[name].items():
            yield f"\n## {title}: {recording}\n"
            yield from _measures(found)
    yield "\n## Baselines\n"
    yield from _baselines(results["baselines"])
    yield "\n## Cold start: benign sessions by the number of sessions their agent had before\n"
    yield from _ages(results["sets"])
    yield ""


def _attacks(sets: Mapping[str, Any]) -> list[str]:
    return _table(
        ("set", "attack", "sessions", "at 5 %", "at 1 %", "at 0.1 %"),
        (
            (name, kind, str(row["sessions"]),
             *(_number(row[f"recall_at_{rate}"]) for rate in (0.05, 0.01, 0.001)))
            for name, found in sets.items()
            for kind, row in found["by_attack"].items()
            if row["sessions"] >= _SESSIONS_MIN
        ),
    )  # fmt: skip


def _measures(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    return _table(
        ("", *names),
        ((title, *(_number(row.get(name)) for name in names)) for title, row in found.items()),
    )


def _baselines(baselines: Mapping[str, Any]) -> list[str]:
    return _table(
        ("set", "baseline", "ROC-AUC", "PR-AUC", "recall at 1 %", "best by"),
        (
            (name, other,
             *(_number(row[m]["value"]) for m in ("roc_auc", "pr_auc", "recall_at_0.01")),
             row["pr_auc"]["by"])
            for name, others in baselines.items()
            for other, row in others.items()
        ),
    )  # fmt: skip


def _ages(sets: Mapping[str, Any]) -> list[str]:
    return _table(
        ("set", "sessions before", "benign", "1 in 100", "1 in 1,000", "suspended"),
        (
            (name, age, *(str(value) for value in row.values()))
            for name, found in sets.items()
            for age, row in found["by_age"].items()
        ),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *map(list, rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _range(interval: Iterable[float] | None) -> str:
    return "" if interval is None else " to ".join(f"{value:.3f}" for value in interval)


def _target(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f">= {low:g}"
    return f"<= {high:g}" if high is not None else ""
