"""Detection quality at session level: does astray see what others do not, and at what price.

    python benchmarks/quality.py [--save] [--jobs N] [--only sets,baselines,...]

One default configuration for all sets; targets, misses and absent sets are said as such. The
recordings are not part of the project; fleets are simulated from permanent seeds. With
`--save` the results are kept as JSON and as the card of the default model.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from astray.flow.kernels import compile_kernels
from detection.card import card
from detection.jobs import Job, done, jobs, placed
from detection.plugins import plugin_rows
from detection.tagging import tagging_rows
from detection.targets import rows_of
from harness import DATA, ROOT, report

PARTS = ("sets", "baselines", "ablations", "fusions", "contamination", "plugins", "tagging")
_CARD = ROOT / "models" / "default" / "card.md"
_GOAL = (
    "every row met: agentdojo-fresh ROC-AUC 0.97, PR-AUC 0.72, recall 0.45 at 1 %; agentdojo 0.93, "
    "0.55, 0.25; darpa98 ROC-AUC 0.97; taubench at most 2 % above 40; six simulated kinds 0.92 at "
    "1 % and 0.55 at 0.1 %; realised / nominal within 0.5 to 1.3; ahead of every baseline; no "
    "detector of one's own costs more than 0.01"
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure detection quality.")
    parser.add_argument("--save", action="store_true", help="keep the results")
    parser.add_argument("--jobs", type=int, default=1, help="processes to use")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    return parser.parse_args()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def _put(results: dict[str, Any], job: Job, found: Any) -> None:
    part = results[job.part]
    match job.part:
        case "contamination":
            part.setdefault("simulate", {})[job.variant] = found
        case "ablations" | "plugins":
            part.setdefault(job.recording.name, {})[job.variant] = found
        case _:
            part[job.recording.name] = found


def measure(data: Path, scratch: Path, parts: set[str], processes: int) -> dict[str, Any]:
    """Do all the work, and return the results."""
    started = time.perf_counter()
    compile_kernels()
    work = jobs(data, scratch, parts)
    there = placed(work, processes)
    results: dict[str, Any] = {name: {} for name in PARTS}
    for job, found in done([job for job in work if there[job.recording.name]], processes):
        _put(results, job, found)
        spent_s = time.perf_counter() - started
        print(f"{spent_s:6.0f} s  {job.part} {job.recording.name} {job.variant}", file=sys.stderr)
    results = {name: _in_order(results[name]) for name in PARTS}
    results["absent"] = [name for name, is_there in there.items() if not is_there]
    rows = [
        *rows_of(results["sets"], results["baselines"]),
        *plugin_rows(results["plugins"]),
        *tagging_rows(results["sets"], results["tagging"]),
    ]
    results["rows"] = [row.as_dict() for row in rows]
    results["seconds"] = time.perf_counter() - started
    return dict(_rounded(results))


def _in_order(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in sorted(found)}


def main() -> None:
    """Measure, report, and write the card."""
    options = _options()
    parts = set(options.only.split(","))
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(DATA, Path(scratch), parts, options.jobs)
    document = report("quality", _GOAL, results)
    if options.save:
        _CARD.parent.mkdir(exist_ok=True)
        _CARD.write_text(card(document), encoding="utf-8")


if __name__ == "__main__":
    main()
