"""What detectors of one's own are worth: the default configuration with some beside it.

The ids are permanent. Nothing of a detector is tuned to a recording: its options are those of
the README.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from astray.config import Config, load_config
from detection.evaluating import Numbers, quality_of
from detection.experiments import kept
from detection.recordings import Recording
from detection.targets import REALISED, Row

WITHOUT = "without"
_HALF_SPACE_TREES = {
    "name": "hst",
    "model": "river.anomaly.HalfSpaceTrees",
    "options": {"n_trees": 10, "height": 8},
}
_MACHINE = {
    "name": "machine",
    "model": ["river.preprocessing.StandardScaler", "river.anomaly.OneClassSVM"],
    "options": {"nu": 0.1},
    "features": ["events", "bytes", "seconds", "novelty_sum"],
    "per": "group",
}
_BURSTS = {"name": "bursts", "model": "midas-r", "features": ["agent", "group", "hour"]}
DETECTORS: Mapping[str, list[Mapping[str, Any]]] = {
    WITHOUT: [],
    "half_space_trees": [_HALF_SPACE_TREES],
    "one_class_svm": [_MACHINE],
    "both": [_HALF_SPACE_TREES, _MACHINE],
    "midas_r": [_BURSTS],
}
"""Detectors by the permanent names of what is measured."""

HARM_MAX = 0.01
"""What a detector may cost at most; less is noise."""

_GAINS = ("roc_auc", "pr_auc")
_RATE = "realised_0.01"
_RECORDINGS = ("agentdojo-fresh-dev", "simulate-11")


def config_with(name: str) -> Config:
    """Return the default configuration with some detectors."""
    return load_config(overrides={"detector": DETECTORS[name]})


def plugged(recording: Recording, name: str) -> Numbers:
    """Return the measures of a recording with some detectors."""
    return kept(quality_of(recording, config_with(name)))


def plugin_rows(plugins: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """Give what detectors gain, and how honest scores are with them, by recording and detector."""
    for recording in _RECORDINGS:
        measured = plugins.get(recording, {})
        alone = measured.get(WITHOUT)
        for name in DETECTORS:
            if name != WITHOUT:
                yield from _rows(f"{recording}/with/{name}", measured.get(name), alone)


def _rows(id_: str, found: Any, alone: Any) -> Iterator[Row]:
    for measure in _GAINS:
        gain = None if found is None or alone is None else found[measure] - alone[measure]
        note = "" if gain is None else f"{alone[measure]:.3f} without, {found[measure]:.3f} with"
        yield Row(f"{id_}/gain/{measure}", gain, -HARM_MAX, None, None, note)
    yield Row(f"{id_}/{_RATE}", found and found[_RATE], *REALISED)
