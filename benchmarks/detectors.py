"""What detectors of one's own cost: microseconds to score a session, and to learn one.

    python benchmarks/detectors.py [--save]

The sessions are those of a simulated fleet. The yardstick, in the same run, is each model by
itself, given the same numbers: the ratio is what astray adds to it.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.config import load_config
from astray.config_detectors import Detector
from astray.detectors.features import features_of
from astray.detectors.models import features_for, model_of
from astray.detectors.panel import LESSONS_MAX, Panel
from astray.flow.kernels import compile_kernels
from detection.core import run
from harness import made_stream, report

_AGENTS, _DAYS = 50, 15.0
_LEARNT, _MEASURED = 3000, 500
_HOUR_US = 3_600_000_000
_GOAL = "none: what a session costs with each model, and how much of that astray adds"

_SCALER = "river.preprocessing.StandardScaler"
_ANOMALY = "river.anomaly"
_DETECTORS: Mapping[str, Mapping[str, Any]] = {
    "half_space_trees": {
        "model": f"{_ANOMALY}.HalfSpaceTrees", "options": {"n_trees": 10, "height": 8},
    },
    "one_class_svm": {
        "model": [_SCALER, f"{_ANOMALY}.OneClassSVM"], "options": {"nu": 0.1},
        "features": ["events", "bytes", "seconds", "novelty_sum"],
    },
    "gaussian_scorer": {"model": f"{_ANOMALY}.GaussianScorer", "features": ["bytes"]},
    "midas_r": {"model": "midas-r", "features": ["agent", "group", "hour"]},
    "loda": {"model": f"{_ANOMALY}.LODA"},
    "local_outlier_factor": {"model": f"{_ANOMALY}.LocalOutlierFactor"},
}  # fmt: skip


def _ended() -> NDArray[Any]:
    """Return sessions of a fleet as they ended."""
    with tempfile.TemporaryDirectory() as scratch:
        done = run(made_stream(Path(scratch), agents=_AGENTS, days=_DAYS), load_config())
    rows = np.concatenate([rows for rows, _ in done.ranked])
    return rows[rows["row"] == -1]


def _us_each(work: Callable[[], object], sessions: int) -> float:
    started = time.perf_counter()
    work()
    return round(1e6 * (time.perf_counter() - started) / sessions, 1)


def _in_panel(detector: Detector, learnt: NDArray[Any], rows: NDArray[Any]) -> dict[str, float]:
    """Return what sessions cost where astray has them scored and learnt."""
    panel = Panel([detector], np.inf)
    for first in range(0, len(learnt), LESSONS_MAX):
        _learn(panel, learnt[first : first + LESSONS_MAX])
    return {
        "score_us": _us_each(partial(panel.detect, rows, keep=False), len(rows)),
        "learn_us": _us_each(partial(_learn, panel, rows), len(rows)),
    }


def _learn(panel: Panel, rows: NDArray[Any]) -> None:
    panel.note(rows, np.ones(len(rows)))
    panel.turn(int(rows["ts_us"].max()) // _HOUR_US * _HOUR_US)


def _alone(detector: Detector, learnt: NDArray[Any], rows: NDArray[Any]) -> dict[str, float]:
    """Return what they cost the model itself."""
    model, names = model_of(detector), features_for(detector)
    for session in features_of(learnt, names):
        model.learn_one(session)
    sessions = list(features_of(rows, names))
    return {
        "score_us": _us_each(lambda: [*map(model.score_one, sessions)], len(sessions)),
        "learn_us": _us_each(lambda: [*map(model.learn_one, sessions)], len(sessions)),
    }


def main() -> None:
    """Measure every model, in astray and alone."""
    compile_kernels()
    ended = _ended()
    learnt, rows = ended[:_LEARNT], ended[_LEARNT : _LEARNT + _MEASURED]
    results: dict[str, Any] = {}
    for name, table in _DETECTORS.items():
        (detector,) = load_config(overrides={"detector": [{"name": "measured", **table}]}).detector
        here, alone = _in_panel(detector, learnt, rows), _alone(detector, learnt, rows)
        ratios = {f"ratio_to_{what[:-3]}_alone": here[what] / alone[what] for what in here}
        results[name] = here | {what: round(ratio, 2) for what, ratio in ratios.items()}
    report("detectors", _GOAL, {"sessions": len(rows), "learnt": len(learnt)} | results)


if __name__ == "__main__":
    main()
