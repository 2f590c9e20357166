"""Detectors that a package offers, as if it were installed: for tests of detectors of one's own."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

_METADATA = "Metadata-Version: 2.1\nName: offered\nVersion: {version}\n"


class Echo:
    """Says what it sees of one number, from its first session on; counts what it learns."""

    def __init__(self, feature: str = "bytes", factor: float = 1.0) -> None:
        self.feature = feature
        self.factor = factor
        self.learnt: list[float] = []

    def score_one(self, x: dict[str, float]) -> float:
        """Return the number."""
        return x[self.feature] * self.factor

    def learn_one(self, x: dict[str, float]) -> None:
        """Remember the number."""
        self.learnt.append(x[self.feature])


class Unheard:
    """Says how far a number lies from the mean of those it has learnt."""

    def __init__(self) -> None:
        self.count, self.sum = 0, 0.0

    def score_one(self, x: dict[str, float]) -> float:
        """Return the distance."""
        return abs(x["bytes"] - self.sum / max(self.count, 1))

    def learn_one(self, x: dict[str, float]) -> None:
        """Learn the number."""
        self.count += 1
        self.sum += x["bytes"]


class Lost:
    """Has no opinion."""

    def score_one(self, x: dict[str, float]) -> float:
        """Return that."""
        return float("nan")

    def learn_one(self, x: dict[str, float]) -> None:
        """Learn nothing."""


class Unkept(Echo):
    """Holds what nobody can keep."""

    def __init__(self) -> None:
        super().__init__()
        self.held = lambda: None


class Mute:
    """Scores nothing."""


class Moody:
    """Refuses its options only when it is used."""

    def __init__(self, mood: float = 1.0) -> None:
        self.mood = mood

    def score_one(self, x: dict[str, float]) -> float:
        """Return a quotient."""
        return 1.0 / self.mood

    def learn_one(self, x: dict[str, float]) -> None:
        """Learn nothing."""


_NAMES = {
    "echo": "Echo", "unheard": "Unheard", "lost": "Lost", "unkept": "Unkept", "mute": "Mute",
    "moody": "Moody", "gone": "Gone",
}  # fmt: skip


@contextlib.contextmanager
def offering(folder: Path, version: str = "1.0") -> Iterator[None]:
    """Have the detectors of this file offered under the entry points of astray."""
    info = folder / f"offered-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(_METADATA.format(version=version))
    lines = [f"{name} = offered:{class_}" for name, class_ in _NAMES.items()]
    (info / "entry_points.txt").write_text("[astray.detectors]\n" + "\n".join(lines) + "\n")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        importlib.invalidate_caches()
