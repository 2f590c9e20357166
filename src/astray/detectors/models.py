"""From a configured detector to a model, or to what is wrong with it.

A model is a class of river's by its path, several of them one after another, or a class that
a package, astray among them, offers under the entry points `astray.detectors`. river is imported
only where one of its models is asked for: it takes a second.
"""

import difflib
import importlib
import inspect
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from astray.baseline.layout import CHANNELS, STATISTICS
from astray.config import Config
from astray.config_detectors import Detector
from astray.detectors.bounds import option_problems
from astray.detectors.features import DEFAULT, FEATURES, WHOSE, unknown_features
from astray.errors import ConfigError

GROUP = "astray.detectors"
"""The entry points under which other packages offer detectors."""

_TAKEN = {*CHANNELS, *STATISTICS, "novelty", "other"}
_RIVER, _OWN = "river", "astray"
_TRIALS = 3
_BROKEN = (
    TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError,
    RuntimeError, ImportError,
)  # fmt: skip
"""What a model raises that does not like its options."""


class Model(Protocol):
    """What scores sessions: the more unusual, the higher. It scores before it learns."""

    def score_one(self, x: dict[str, float]) -> float:
        """Return how unusual a session is, and change nothing."""

    def learn_one(self, x: dict[str, float]) -> None:
        """Learn a session."""


class OneFeature:
    """A model of river's that looks at a single number: it is what river calls the target."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def score_one(self, x: dict[str, float]) -> float:
        """Return how unusual the number is."""
        (value,) = x.values()
        return float(self.model.score_one({}, value))

    def learn_one(self, x: dict[str, float]) -> None:
        """Learn the number."""
        (value,) = x.values()
        self.model.learn_one({}, value)


class _ProblemError(Exception):
    """Something in a table that makes no model."""


def check_detectors(config: Config) -> None:
    """Make and try every detector.

    Raises
    ------
    ConfigError
        Some cannot be made or tried; every problem of every detector is named.
    """
    problems = []
    for place, detector in enumerate(config.detector):
        problems += [f"detector.{place}.{said}" for said in _problems_of(detector)]
    if problems:
        raise ConfigError(problems)


def checked(config: Config) -> Config:
    """Return a configuration whose detectors have been made and tried; see `check_detectors`."""
    check_detectors(config)
    return config


def features_for(detector: Detector) -> tuple[str, ...]:
    """Return the names of what a detector sees: where it does not say, what its model asks for."""
    return detector.features or getattr(_class_at(detector.model[-1]), "features_default", DEFAULT)


def model_of(detector: Detector) -> Model:
    """Return a model that has learnt nothing; `check_detectors` has seen that there is one."""
    return _assembled(detector, [_class_at(path) for path in detector.model])


def warmup_of(detector: Detector, model: Model) -> int:
    """Return how many sessions a model learns before it is listened to.

    Half-space trees have no opinion before their first window is full.
    """
    last = list(model.steps.values())[-1] if hasattr(model, "steps") else model
    window = getattr(last, "window_size", None)
    return max(detector.warmup, window + 1 if isinstance(window, int) else 0)


def origin_of(detector: Detector) -> str:
    """Return which packages' models a detector keeps, with their versions."""
    dists = {_dist_of(path) for path in detector.model}
    return ", ".join(sorted(dists))


def packages_of(detector: Detector) -> frozenset[str]:
    """Return the packages whose classes a detector's models are made of."""
    own = {_class_at(path).__module__.split(".")[0] for path in detector.model}
    return frozenset(own)


def _dist_of(path: str) -> str:
    if _is_rivers(path):
        return f"river {importlib.import_module(_RIVER).__version__}"
    found = _offered().get(path)
    if found is None or found.dist is None or found.dist.name == _OWN:
        return path  # what astray's own have learnt is of no version but their state's
    return f"{found.dist.name} {found.dist.version}"


def _is_rivers(path: str) -> bool:
    return path.startswith(f"{_RIVER}.")


def _offered() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP)}


def _problems_of(detector: Detector) -> list[str]:
    """Return what is wrong with a detector; what it cannot be tried without comes first."""
    problems = []
    if detector.name in _TAKEN:
        problems.append(f"name: {detector.name} is already something else in decisions")
    unknown = unknown_features(detector.features)
    if unknown:
        there = ", ".join(sorted({*FEATURES, *WHOSE}))
        problems.append(f"features: there is no {', '.join(unknown)}; there are {there}")
    classes = []
    for path in detector.model:
        try:
            classes.append(_class_at(path))
        except _ProblemError as error:
            problems.append(f"model: {error}")
    if len(classes) == len(detector.model):
        problems += _shape_problems(classes) or _option_problems(detector, classes)
        problems += _one_feature_problems(detector, classes)
    return problems or _trial_problems(detector, classes)


def _class_at(path: str) -> Any:
    """Return the class that a path, or the name of an entry point, stands for."""
    if _is_rivers(path):
        return _rivers(path)
    found = _offered().get(path)
    if found is None:
        names = ", ".join(sorted(_offered())) or "none"
        raise _ProblemError(
            f"{path}: neither a class of river's, such as river.anomaly.HalfSpaceTrees, nor an "
            f"entry point of the group {GROUP}; there are {names}"
        )
    try:
        return found.load()
    except (ImportError, AttributeError) as error:
        raise _ProblemError(f"{path}: {found.value} cannot be imported: {error}") from None


def _rivers(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        there = importlib.import_module(module)
    except ImportError:
        raise _ProblemError(f"{path}: river has no module {module}") from None
    found = getattr(there, name, None)
    if not inspect.isclass(found):
        near = difflib.get_close_matches(name, getattr(there, "__all__", ()), 1, 0.5)
        hint = f"; did you mean {module}.{near[0]}?" if near else ""
        raise _ProblemError(f"{path}: {module} has no such class{hint}")
    return found


def _shape_problems(classes: Sequence[Any]) -> list[str]:
    """Return which steps cannot stand where they do."""
    *before, last = classes
    said = []
    if not (callable(getattr(last, "score_one", None)) and hasattr(last, "learn_one")):
        said.append(f"model: {last.__name__} is no detector: it has no score_one and learn_one")
    if not before:
        return said
    base = importlib.import_module("river.base")
    said += [
        f"model: {step.__name__} cannot stand before a detector: it transforms nothing"
        for step in before
        if not issubclass(step, base.Transformer)
    ]
    if _takes_one(last):
        said.append(f"model: {last.__name__} looks at one number and stands alone")
    return said


def _takes_one(model: Any) -> bool:
    """Return whether a class judges a single number beside the features."""
    if not model.__module__.startswith(f"{_RIVER}."):
        return False
    base = importlib.import_module("river.base")
    return issubclass(model, base.SupervisedAnomalyDetector)


def _one_feature_problems(detector: Detector, classes: Sequence[Any]) -> list[str]:
    if not _takes_one(classes[-1]) or len(features_for(detector)) == 1:
        return []
    return [f"features: {classes[-1].__name__} looks at one number; name the one"]


def _options_of(detector: Detector, classes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every step's options: those of earlier ones have a table named like the class."""
    *before, last = classes
    own = {step.__name__: detector.options.get(step.__name__, {}) for step in before}
    rest = {name: value for name, value in detector.options.items() if name not in own}
    options = [dict(own[step.__name__]) for step in before] + [rest]
    for step, given in zip((*before, last), options, strict=True):
        if "seed" in _parameters(step):
            given.setdefault("seed", detector.seed)
    return options


def _parameters(step: Any) -> list[str]:
    return [name for name in inspect.signature(step).parameters if name != "self"]


def _option_problems(detector: Detector, classes: Sequence[Any]) -> list[str]:
    said = []
    for step in classes[:-1]:
        if not isinstance(detector.options.get(step.__name__, {}), dict):
            return [f"options.{step.__name__}: should be a table"]
    for step, given in zip(classes, _options_of(detector, classes), strict=True):
        if _is_rivers(step.__module__):
            place = "options." if step is classes[-1] else f"options.{step.__name__}."
            said += [place + problem for problem in option_problems(step, given)]
        taken = _parameters(step)
        if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(step).parameters.values()):
            continue
        there = f"there are {', '.join(taken)}" if taken else "it takes none"
        said += [
            f"options.{name}: {step.__name__} has no such option; {there}"
            for name in given
            if name not in taken
        ]
    return said


def _assembled(detector: Detector, classes: Sequence[Any]) -> Any:
    steps = [
        step(**given) for step, given in zip(classes, _options_of(detector, classes), strict=True)
    ]
    if _takes_one(classes[-1]):
        return OneFeature(steps[-1])
    if len(steps) == 1:
        return steps[0]
    return importlib.import_module("river.compose").Pipeline(*steps)


def _trial_problems(detector: Detector, classes: Sequence[Any]) -> list[str]:
    """Return what a model says to its options and to a few sessions, if it does not like them."""
    try:
        model = _assembled(detector, classes)
        for session in _sessions(features_for(detector)):
            float(model.score_one(session))
            model.learn_one(session)
    except _BROKEN as error:
        name, told = classes[-1].__name__, f"{type(error).__name__}: {error}"
        if isinstance(error, KeyError) and not unknown_features(map(str, error.args)):
            return [f"features: {name} asks for {error.args[0]}, which is none of them"]
        return [f"options: {name} does not work with them: {told}"]
    return []


def _sessions(names: Sequence[str]) -> Iterable[dict[str, float]]:
    """Return sessions for a trial."""
    for trial in range(_TRIALS):
        yield {name: (trial + place) % _TRIALS / _TRIALS for place, name in enumerate(names)}
