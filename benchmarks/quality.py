"""Detection quality at session level on labelled recordings, one default configuration.

    python benchmarks/quality.py [--save]

The recordings are not part of the project; where there are none, only the simulated fleet is
measured, and the result says so.
"""

import tempfile
from pathlib import Path
from typing import Any

from astray.config import load_config
from astray.lab.labels import read_labels
from astray.lab.replay import replay
from astray.lab.simulate import SimulationOptions, parse_attacks, simulate, write
from harness import DATA, report

_RECORDINGS = ("agentdojo-fresh-dev", "agentdojo-dev", "darpa98", "taubench")
_GOAL = (
    "agentdojo-fresh-dev: session ROC-AUC >= 0.94, PR-AUC >= 0.50, realised false rate at nominal "
    "1 % within 0.5 to 1.5 %"
)
_SEED = 11


def _measured(events: Path, labels: Path) -> dict[str, Any]:
    answers = read_labels(labels)
    summary = replay(events, load_config(), answers).summary(answers)
    kept = ("events", "sessions", "agents")
    return {name: summary[name] for name in kept} | {"quality": _rounded(summary["quality"])}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, float):
        return round(value, 5) if value == value else None  # noqa: PLR0124 - NaN is not itself
    return value


def _simulated(scratch: Path) -> dict[str, Any]:
    events, labels = scratch / "fleet.events.jsonl", scratch / "fleet.labels.jsonl"
    options = SimulationOptions(agents=160, days=30, seed=_SEED, attacks=parse_attacks("all=40"))
    write(simulate(options), events, labels)
    return _measured(events, labels)


def main() -> None:
    """Measure every recording that is there, and the simulated fleet."""
    results: dict[str, Any] = {}
    for name in _RECORDINGS:
        events = DATA / f"{name}.events.jsonl.gz"
        if events.exists():
            results[name] = _measured(events, DATA / f"{name}.labels.jsonl.gz")
        else:
            results[name] = "not here"
    with tempfile.TemporaryDirectory() as scratch:
        results["simulated fleet"] = _simulated(Path(scratch))
    report("quality", _GOAL, results)


if __name__ == "__main__":
    main()
