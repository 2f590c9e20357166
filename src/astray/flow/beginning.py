"""Where events are read again from: their beginning, or where a state that was kept had come to.

The state itself stays as it is. A run that goes on from it goes on from a copy.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from astray.config import Config
from astray.errors import ConfigError, StateError
from astray.flow.naming import STDIN, check_sources
from astray.flow.openfile import Place
from astray.flow.recovery import Recovery, check_fits, open_recovery
from astray.flow.sources import Places
from astray.flow.state import Whole, make_directory, places_in, read_exported, read_whole, sound
from astray.flow.verdicts import VERDICTS


@dataclass(frozen=True, slots=True)
class Beginning:
    """The sources of a second reading, and the state with which it begins, if there is one.

    A state knows its sources by the names under which they were read; `paths` says where those
    lie now. `verdicts` is the number of the last verdict that it has heard of from its case
    store. `told` is what people should know of it.
    """

    names: tuple[str, ...]
    paths: Mapping[str, Path]
    state: Path | None = None
    whole: Whole | None = None
    places: Places = field(default_factory=dict)
    verdicts: int = 0
    told: tuple[str, ...] = ()

    @contextmanager
    def recovery(self, config: Config) -> Iterator[Recovery | None]:
        """Have a copy of the state in a recovery directory, as long as it is needed.

        Raises
        ------
        RecoveryError
            It is the state of another configuration, or cannot be copied.
        """
        if self.whole is None or self.state is None:
            yield None
            return
        check_fits(self.state, self.whole.address, config)
        with TemporaryDirectory(prefix="astray-") as folder:
            copy = Path(folder) / "copy"
            make_directory(copy, self.whole)
            with open_recovery(copy, config) as recovery:
                yield recovery


def beginning_of(
    events: Sequence[str], recovery: Path | None = None, state: Path | None = None
) -> Beginning:
    """Return how events are read again: with a recovery directory, an exported state, or neither.

    Raises
    ------
    ConfigError
        Both are given, or events that cannot be read again.
    RecoveryError
        The state cannot be used.
    """
    problems = ["-: standard input cannot be read again"] if STDIN in events else []
    if recovery is not None and state is not None:
        problems.append("--recovery and --state: one or the other")
    try:
        check_sources([name for name in events if name != STDIN], follow=False)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    if recovery is not None:
        whole = read_whole(recovery, None)
        for snapshot in whole.snapshots:
            sound(recovery, snapshot)
        return _going_on(events, recovery, whole)
    if state is not None:
        return _going_on(events, state, read_exported(state))
    return Beginning(tuple(events), {})


def _going_on(events: Sequence[str], state: Path, whole: Whole) -> Beginning:
    """Find the sources that a state has read under the names they had then."""
    try:
        places = places_in(whole)
    except StateError as error:
        raise ConfigError([f"{state}: {error}"]) from None
    verdicts = Place(*places.pop(VERDICTS, Place())).offset
    paths: dict[str, Path] = {}
    names, told, problems = [], [], []
    for name in events:
        known = _known_as(name, [place for place in places if place not in events])
        if name in places or not known:
            names.append(name)
        elif len(known) == 1 and known[0] not in paths:
            names.append(known[0])
            paths[known[0]] = Path(name)
            told.append(f"{name}: taken for {known[0]}, which {state} has read")
        else:
            problems.append(f"{name}: {state} has read {', '.join(known)}: name the one it is")
    if problems:
        raise ConfigError(problems)
    read = ", ".join(sorted(places)) or "nothing"
    told += [
        f"{name}: read from its beginning, as {state} has not read it, but {read}"
        for name in names
        if name not in places
    ]
    return Beginning(tuple(names), paths, state, whole, places, verdicts, tuple(told))


def _known_as(name: str, known: Sequence[str]) -> list[str]:
    """Return the sources that have the same file name elsewhere."""
    return [other for other in known if Path(other).name == Path(name).name]
