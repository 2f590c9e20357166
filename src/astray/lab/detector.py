"""astray as a detector of river's: the real core, behind `score_one` and `learn_one`.

    from astray import Detector

    detector = Detector()
    score = detector.score_one({"ts": ..., "agent": "billing-bot", "action": "refund"})
    detector.learn_one({"ts": ..., "agent": "billing-bot", "action": "refund"})

A score is astray's divided by 100: 0.2 * log10(N) where 1 in N sessions look like this one does
with the event; 0.4 is 1 in 100, 0.6 is 1 in 1,000, and never more than 1.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from river.base import AnomalyDetector

from astray import blob
from astray.baseline.granting import NOTHING_SAID
from astray.baseline.part import part_of, windows_of
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.config import Config, load_config
from astray.decide.decider import Decider
from astray.decide.limits import lowest_limits, tag_patterns
from astray.detectors.models import checked
from astray.events import Chunk, Decoded, Event, encode_event
from astray.events.decoding import rows_of
from astray.flow.tagging import Tagger
from astray.lab.items import Items
from astray.lab.standing import Onlooker

_SOURCE = "river"
_KIND = "detector"
_SCORE_MAX = 100.0
_SHARDS = 1

Dict = Mapping[Any, Any]


class Detector(AnomalyDetector):
    """Scores what agents do by how rare a session like theirs is, and learns from it.

    A dict with an `agent` or an `action` is an event with the keys of astray's events (`ts`,
    `agent`, `action`, `session`, `resource`, `outcome`, `source`, `bytes` ...); others are
    ignored, and what is missing or cannot be read is as if it were not there. Any other dict is
    a sample of features: a session of its own, odd when its features have odd values. The score
    of an event is that of its session as it would stand with the event; scoring changes nothing.

    Sessions are ranked among those that have ended before the present window, so scores are 0
    until windows turn: by default every hour, by the events' own clock.

    Parameters
    ----------
    config
        A configuration file, or a dict of what differs from the defaults, as in the file. Its
        own `detector` tables work as well; there is one shard, whatever it says.
    step_s
        Seconds from one event to the next where they do not say when they were.

    Examples
    --------
    >>> detector = Detector(step_s=1800.0)
    >>> usual = {"agent": "bot", "action": "read", "session_end": True}
    >>> for _ in range(600):  # twelve days and a half
    ...     detector.learn_one(usual)
    >>> detector.score_one(usual) < 0.1, detector.score_one(usual | {"action": "drop"}) > 0.3
    (True, True)
    """

    def __init__(
        self, config: str | Path | dict[str, Any] | None = None, step_s: float = 60.0
    ) -> None:
        self.config = config
        self.step_s = step_s
        self._config = _one_shard(config)
        self._items = Items(step_s)
        settings = shard_settings(self._config, lowest_limits(self._config))
        self._shard = Shard(0, settings, (_SOURCE,))
        self._decider = Decider(self._config)
        self._tagger = Tagger(tag_patterns(self._config))
        self._onlooker = Onlooker()

    def score_one(self, x: Dict) -> float:
        """Return how unusual the session of an event would be with it: 0 to 1."""
        return float(self._scores([x])[0])

    def learn_one(self, x: Dict) -> None:
        """Take an event; its session is learnt when it ends and looks clean."""
        self._learn([x])

    def score_many(self, X: Any) -> NDArray[np.float64]:  # noqa: N803 - river's name
        """Return the scores of the rows of a data frame, or of a dict of columns.

        Each is scored by itself from what has been learnt, as `score_one` would score it.
        """
        return self._scores(_rows(X))

    def learn_many(self, X: Any) -> None:  # noqa: N803 - river's name
        """Learn the rows of a data frame, or of a dict of columns, in their order."""
        self._learn(_rows(X))

    def _scores(self, samples: Iterable[Dict]) -> NDArray[np.float64]:
        events = [self._items.events_of(x) for x in samples]
        if not events or not self._shard.window_us:  # nothing has been learnt
            return np.zeros(len(events))
        records = [self._standing(some) for some in events]
        found, n = np.concatenate(records), np.ones(len(records))
        for tenant in np.unique(found["tenant"]).tolist():
            places = np.flatnonzero(found["tenant"] == tenant)
            n[places], _ = self._decider.standing(found[places])
        return np.minimum(20.0 * np.log10(n), _SCORE_MAX) / _SCORE_MAX

    def _standing(self, events: list[Event]) -> NDArray[Any]:
        decoded, grants = _decoded(events), self._shard.settings.grants
        tags, said = self._tagger.tags(decoded), NOTHING_SAID
        if grants is not None:
            said = np.array([grants.says(event) for event in events], np.int64)
        return self._onlooker.standing(self._shard, decoded.rows, decoded.resources, tags, said)

    def _learn(self, samples: Iterable[Dict]) -> None:
        events: list[Event] = []
        for x in samples:
            of_sample = self._items.events_of(x)
            self._items.learn(x, of_sample)
            events += of_sample
        if not events:
            return
        decoded = _decoded(events)
        window_us = windows_of(decoded, self._shard.settings.window_us)
        tags = self._tagger.tags(decoded)
        part = part_of(0, decoded, np.arange(len(events)), window_us, tags)
        records = self._shard.assess(part)
        if records:
            self._decider.decide(records)

    def __getstate__(self) -> dict[str, Any]:
        """Return the detector as astray keeps its state, not as Python would."""
        states = {"shard": self._shard.dump(), "decider": self._decider.dump()}
        arrays = {name: np.frombuffer(state, np.uint8) for name, state in states.items()}
        state = blob.pack(_KIND, {"items": orjson.dumps(self._items.dump()).decode()}, arrays)
        return {"config": self.config, "step_s": self.step_s, "state": state}

    def __setstate__(self, kept: Mapping[str, Any]) -> None:
        """Go on from what was kept; raises `StateError` where the state is damaged."""
        self.__init__(kept["config"], kept["step_s"])  # type: ignore[misc] # made anew
        meta, arrays = blob.unpack(kept["state"], _KIND)
        settings = self._shard.settings
        self._items.load(orjson.loads(meta["items"]))
        self._shard = Shard.load(arrays["shard"].tobytes(), settings, (_SOURCE,))
        self._decider = Decider.load(arrays["decider"].tobytes(), self._config)


def _one_shard(config: str | Path | dict[str, Any] | None) -> Config:
    shards = {"events": {"shards": _SHARDS}}
    if isinstance(config, str | Path):
        return checked(load_config(Path(config), shards))
    given = config or {}
    return checked(
        load_config(None, {**given, "events": {**given.get("events", {}), **shards["events"]}})
    )


def _decoded(events: list[Event]) -> Decoded:
    """Return events as a chunk of lines that has been read."""
    rows, resources = rows_of(events)
    lines = [encode_event(event) for event in events]
    rows["line_end"] = np.cumsum([len(line) for line in lines])
    rows["line_first"] = rows["line_end"] - [len(line) for line in lines]
    return Decoded(Chunk(_SOURCE, 0, b"".join(lines)), rows, resources, ())


def _rows(columns: Any) -> Iterator[dict[Any, Any]]:
    """Return the rows of a data frame, or of a dict of columns."""
    names = list(columns.keys())
    values = [np.asarray(columns[name]).tolist() for name in names]
    return (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))
