"""The yardstick: what a user would write instead, a plain bytewax and river dataflow.

In the shape of bytewax's own anomaly example: a file of JSON lines, keyed by agent, a
`HalfSpaceTrees` per agent in `stateful_map`, a fixed threshold. `features` numbers are what
somebody would take from an event by hand. Two sizes: river's default forest, and the toy
forest of the example (5 trees of height 3, one feature).
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bytewax import operators as op
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main
from river import anomaly

_BATCH = 1000
_THRESHOLD = 0.7


def _features(event: dict[str, Any]) -> dict[str, float]:
    moment = datetime.fromtimestamp(event["ts"], UTC)
    return {
        "bytes": min(event.get("bytes", 0) / 1e6, 1.0),
        "hour": moment.hour / 24,
        "weekday": moment.weekday() / 7,
        "failed": float(event.get("outcome") != "success"),
        "action": hash(event["action"]) % 1000 / 1000,
        "resource": hash(event.get("resource", "")) % 1000 / 1000,
    }


def plain_flow(path: Path, *, toy: bool) -> Dataflow:
    """Return the dataflow over a file of events."""

    def key(line: str) -> tuple[str, dict[str, Any]]:
        event = json.loads(line)
        return event["agent"], event

    def judge(
        forest: anomaly.HalfSpaceTrees | None, event: dict[str, Any]
    ) -> tuple[anomaly.HalfSpaceTrees, tuple[float, bool]]:
        if forest is None:
            toys: dict[str, Any] = {"n_trees": 5, "height": 3, "window_size": 5} if toy else {}
            forest = anomaly.HalfSpaceTrees(seed=42, **toys)
        features = _features(event)
        if toy:
            features = {"value": features["bytes"]}
        forest.learn_one(features)
        score = forest.score_one(features)
        return forest, (score, score > _THRESHOLD)

    flow = Dataflow("plain")
    lines = op.input("lines", flow, FileSource(path, batch_size=_BATCH))
    keyed = op.map("key", lines, key)
    judged = op.stateful_map("judge", keyed, judge)
    op.output("out", judged, TestingSink([]))
    return flow


def run_plain(path: Path, *, toy: bool) -> None:
    """Run the dataflow to its end."""
    run_main(plain_flow(path, toy=toy))
