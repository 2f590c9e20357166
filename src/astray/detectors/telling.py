"""What is said of a detector to people who read a decision."""

from collections.abc import Iterable

from astray.baseline.layout import STATISTICS
from astray.config_detectors import Detector

_TOLD_MAX = 3

_CALLED = {
    "HalfSpaceTrees": "half-space trees",
    "OneClassSVM": "a one-class SVM",
    "LocalOutlierFactor": "a local outlier factor",
    "GaussianScorer": "a Gaussian scorer",
    "StandardAbsoluteDeviation": "a standard absolute deviation",
    "LODA": "LODA",
    "midas-r": "MIDAS-R",
}
_MANY = "trees"
_OVER = {"fleet": "the fleet's sessions", "group": "its group's sessions"}


def names_of(detectors: Iterable[Detector]) -> tuple[str, ...]:
    """Return the names of all statistics: the core's, and one for each detector."""
    return (*STATISTICS, *(detector.name for detector in detectors))


def found_by(detector: Detector) -> str:
    """Return what finds something, among whose sessions.

    >>> found_by(Detector(name="hst", model="river.anomaly.HalfSpaceTrees"))
    "half-space trees over the fleet's sessions find"
    >>> found_by(Detector(name="own", model="mine", per="group"))
    "the detector own over its group's sessions finds"
    """
    called = _CALLED.get(detector.model[-1].split(".")[-1], f"the detector {detector.name}")
    finds = "find" if called.endswith(_MANY) else "finds"
    return f"{called} over {_OVER[detector.per]} {finds}"


def seen_by(detector: Detector) -> str:
    """Return what of a session a detector looks at.

    >>> seen_by(Detector(name="hst", model="river.anomaly.HalfSpaceTrees"))
    'the mix of its totals'
    >>> seen_by(Detector(name="b", model="mine", features=["bytes"]))
    'its bytes'
    >>> seen_by(Detector(name="b", model="mine", features=["bytes", "new_items", "rhythm"]))
    'the mix of its bytes, new items and rhythm'
    """
    names = [name.replace("_", " ") for name in detector.features]
    if not names:
        return "the mix of its totals"
    if len(names) == 1:
        return f"its {names[0]}"
    if len(names) > _TOLD_MAX:
        return f"the mix of {', '.join(names[:_TOLD_MAX])} and {len(names) - _TOLD_MAX} more"
    return f"the mix of its {', '.join(names[:-1])} and {names[-1]}"
