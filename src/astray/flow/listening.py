"""Sources that ought to give something and do not, by the wall clock.

Whoever reads notes what it has asked and got; a thread looks at that every second and has the
case store open and close cases. A source that has not been asked is not silent: a loop that
is stuck is another matter (`flow.health`). What has ended is not asked again.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from astray.alerts.blindness import silence_finding
from astray.decide.silence import Kind, Over, Silence, silence_case
from astray.errors import StoreError
from astray.flow.background import Background
from astray.flow.kafka.address import feed_of
from astray.flow.naming import STDIN
from astray.store import Store

LOOK_EVERY_S: Final = 1.0
_MICROS: Final = 1_000_000

Place = tuple[str, int, int]
_NOWHERE: Final[Mapping[str, Place]] = {}


@dataclass
class Feed:
    """A source, or a topic with all its partitions that are read here.

    `began` and `places` are where it was met and where it is now; `gave` counts how often it
    had something. `heard_s` and `asked_s` are when it had so, or was met, and when it was
    asked last, in seconds since 1970.
    """

    heard_s: float
    asked_s: float = 0.0
    gave: int = 0
    began: dict[str, Place] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    @property
    def quiet_s(self) -> float:
        """For how long it has had nothing, as far as anybody has asked."""
        return self.asked_s - self.heard_s


@dataclass
class Listening:
    """What has been asked of the sources that are to last; written by readers, on one thread."""

    clock: Callable[[], float] = time.time
    feeds: dict[str, Feed] = field(default_factory=dict)

    def asked(
        self,
        places: Mapping[str, Place],
        giving: Iterable[str],
        before: Mapping[str, Place] = _NOWHERE,
    ) -> None:
        """Take note that a source was asked, where it was and is, and which of its parts gave."""
        now_s = self.clock()
        for name, place in places.items():
            feed = self.feeds.setdefault(feed_of(name), Feed(now_s))
            feed.asked_s = now_s
            feed.began.setdefault(name, before.get(name, place))
            feed.places[name] = place
        for name in {feed_of(source) for source in giving} & self.feeds.keys():
            self.feeds[name].heard_s = now_s
            self.feeds[name].gave += 1


class Watch(Background):
    """Opens a case for a source that gives nothing for too long, and closes it.

    The case is that of the source and of the place it fell silent at: a restart does not open
    another one, and closes the one of before. Standard input has no place that lasts; there
    it is that of the time.
    """

    def __init__(
        self, listening: Listening, store: Store, after_s: float, wake: Callable[[], None]
    ) -> None:
        super().__init__("astray-listening")
        self._listening = listening
        self._store = store
        self._after_s = after_s
        self._has_changed = wake
        self._met: set[str] = set()
        self._open: dict[str, tuple[Silence, int]] = {}  # and what it had given by then

    def look(self) -> None:
        """Have cases opened and closed; what the store does not take is tried again."""
        for name, feed in list(self._listening.feeds.items()):
            self._meet(name, feed)
            if name in self._open:
                self._close(name, feed)
            elif feed.quiet_s >= self._after_s:
                self._note(name, feed)

    def _meet(self, name: str, feed: Feed) -> None:
        """Take over the case that an earlier run has left open."""
        if name in self._met:
            return
        case = _case_of(name, feed, dict(feed.began))
        lasting = self._store.lasting_silences(Kind.SOURCE)
        self._open |= {s.name: (s, 0) for s in lasting if s.case == case}
        self._met.add(name)

    def _note(self, name: str, feed: Feed) -> None:
        gave, heard_s, asked_s = feed.gave, feed.heard_s, feed.asked_s
        silence = Silence(
            case=_case_of(name, feed, dict(feed.places)),
            kind=Kind.SOURCE,
            tenant="",
            name=name,
            last_us=int(heard_s * _MICROS),
            ts_us=int(asked_s * _MICROS),
            waited=asked_s - heard_s,
            limit=self._after_s,
        )
        self._record(silence)
        self._open[name] = silence, gave

    def _close(self, name: str, feed: Feed) -> None:
        silence, gave = self._open[name]
        if feed.gave == gave:
            return
        over = replace(silence, over=Over.BACK, ts_us=int(feed.heard_s * _MICROS))
        self._record(over)
        del self._open[name]

    def _record(self, silence: Silence) -> None:
        if self._store.record_silences([silence], silence_finding, time.time()):
            self._has_changed()

    def _run(self) -> None:
        while not self._ending.wait(min(LOOK_EVERY_S, self._after_s / 4)):
            self._try()
        self._try()  # what was heard last

    def _try(self) -> None:
        try:
            self.look()
        except StoreError:  # whoever records decisions says so
            self._ending.wait(LOOK_EVERY_S)

    def _is_wanted(self) -> bool:
        return self._after_s > 0


def _case_of(name: str, feed: Feed, places: Mapping[str, Place]) -> str:
    place = f"{feed.heard_s:.0f}" if name == STDIN else repr(sorted(places.items()))
    return silence_case(Kind.SOURCE, "", name, place)
