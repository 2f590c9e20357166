"""All detectors of a configuration at work: what each says of a session, and what they learn.

    levels = panel.detect(rows)      # as the sessions stand, from what was learnt before
    panel.note(rows[ended], n)       # those that ended, and how rare each is
    panel.turn(window_us)            # now they are learnt

A detector has a model per cohort: of a tenant's sessions, or of a group's. Models change only
at the turn of an event-time window, and what a window taught is learnt in an order of its own,
so neither batches nor the order of sessions in it matter. What looks suspicious teaches nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from astray.baseline.buffers import RECORD
from astray.baseline.rehearsal import FIRST_ROW
from astray.baseline.upgrading import upgraded
from astray.config_detectors import Detector
from astray.detectors.features import features_of
from astray.detectors.keeping import packed, unpacked
from astray.detectors.levels import MISSING, level_of
from astray.detectors.models import (
    Model,
    features_for,
    model_of,
    origin_of,
    packages_of,
    warmup_of,
)
from astray.errors import DetectorError, Seeing, StateError

LESSONS_MAX = 1024
"""Sessions of a tenant that are learnt from a window; of more, the first in their order."""

OPEN_MAX = 100_000
"""Open sessions whose highest level is remembered; beyond it the oldest quarter is forgotten."""

_FORGOTTEN_AT_ONCE = 4
_MIX, _MIX_SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
_NOT_KNOWN = -1
_NO_GROUP = 0
_BITS_MAX = 1000.0  # 2.0 to more is no float any more

Levels = NDArray[np.uint16]
"""By session and detector; `levels.MISSING` where a detector has no opinion."""

_OPEN = np.dtype([("session", np.uint64), ("start_us", np.int64)])

_Cohort = tuple[int, int]
"""A tenant, and one of its groups or none."""


@dataclass(slots=True)
class _Taught:
    """A cohort's model, how many sessions it has learnt, when last; as bytes if those are new."""

    model: Model
    warmup: int
    sessions: int = 0
    used_us: int = 0
    packed: bytes | None = None

    def learn(self, session: dict[str, float], window_us: int) -> None:
        self.model.learn_one(session)
        self.sessions += 1
        self.used_us = window_us
        self.packed = None

    def level(self, session: dict[str, float]) -> int:
        if self.sessions < self.warmup:
            return _NOT_KNOWN
        level = level_of(float(self.model.score_one(session)))
        return level if level != MISSING else _NOT_KNOWN


def _naming(detector: Detector) -> Seeing:
    """Have whatever a model raises raised with the name of its detector."""

    def name(error: BaseException) -> None:
        if isinstance(error, Exception):
            said = f"detector {detector.name}: {type(error).__name__}: {error}"
            raise DetectorError(f"{said}; mend it, or leave it out", lasting=True) from error

    return Seeing(name)


class _Column:
    """One detector with the models of its cohorts."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.features = features_for(detector)
        self.cohorts: dict[_Cohort, _Taught] = {}

    def cohorts_of(self, rows: NDArray[Any]) -> list[_Cohort]:
        groups = rows["group"].tolist() if self.detector.per == "group" else [0] * len(rows)
        return list(zip(rows["tenant"].tolist(), groups, strict=True))

    def levels(self, rows: NDArray[Any]) -> list[int]:
        if not self.cohorts:
            return [_NOT_KNOWN] * len(rows)
        sessions = zip(self.cohorts_of(rows), features_of(rows, self.features), strict=True)
        with _naming(self.detector):
            return [
                _NOT_KNOWN if (known := self.cohorts.get(cohort)) is None else known.level(session)
                for cohort, session in sessions
            ]

    def learn(self, rows: NDArray[Any], window_us: int) -> None:
        sessions = zip(self.cohorts_of(rows), features_of(rows, self.features), strict=True)
        with _naming(self.detector):
            for cohort, session in sessions:
                taught = self.cohorts.get(cohort)
                if taught is None:
                    model = model_of(self.detector)
                    warmup = warmup_of(self.detector, model)
                    taught = self.cohorts[cohort] = _Taught(model, warmup)
                taught.learn(session, window_us)

    def forget(self) -> None:
        """Forget the cohorts that have taught nothing for the longest time, beyond the cap."""
        spare = len(self.cohorts) - self.detector.cohorts_max
        if spare > 0:
            silent = sorted(self.cohorts, key=lambda cohort: (self.cohorts[cohort].used_us, cohort))
            for cohort in silent[:spare]:
                del self.cohorts[cohort]


def column_id(detector: Detector) -> str:
    """Return the name of a detector's column in the state: another as soon as scores may be."""
    told = detector.model_dump(mode="json", exclude={"cohorts_max"})
    digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{detector.name}:{digest[:12]}"


class Panel:
    """The detectors of a configuration; without any it does nothing."""

    def __init__(self, detectors: Sequence[Detector], suspicious_bits: float) -> None:
        self.columns = tuple(map(column_id, detectors))
        self._columns = [_Column(detector) for detector in detectors]
        self._suspicious_n = 2.0 ** min(suspicious_bits, _BITS_MAX)
        self._open: dict[int, tuple[int, list[int]]] = {}
        self._lessons: dict[int, NDArray[Any]] = {}

    def detect(self, rows: NDArray[Any], *, keep: bool = True) -> Levels:
        """Return the highest level of each session so far (rows of `buffers.RECORD`).

        `keep`: they are remembered, as the sessions go on from here.
        """
        if not self._columns or not len(rows):
            return np.zeros((len(rows), len(self._columns)), np.uint16)
        levels = np.full((len(rows), len(self._columns)), MISSING, np.uint16)
        now = zip(*(column.levels(rows) for column in self._columns), strict=True)
        places = zip(*(rows[name].tolist() for name in ("session", "start_us", "row")), strict=True)
        for at, (found, (session, start_us, row)) in enumerate(zip(now, places, strict=True)):
            most = list(found)
            if row > FIRST_ROW:  # a rehearsed attack is nobody's session
                most = self._most(session, start_us, most, ended=row < 0, keep=keep)
            levels[at] = [MISSING if level < 0 else level for level in most]
        if len(self._open) > OPEN_MAX:
            self._forget_oldest()
        return levels

    def _most(
        self, session: int, start_us: int, levels: list[int], *, ended: bool, keep: bool
    ) -> list[int]:
        known_us, known = self._open.get(session, (start_us, levels))
        most = list(map(max, known, levels)) if known_us == start_us else levels
        if not keep:
            return most
        if ended:
            self._open.pop(session, None)
        else:
            self._open[session] = start_us, most
        return most

    def _forget_oldest(self) -> None:
        oldest = sorted(self._open, key=lambda session: (self._open[session][0], session))
        for session in oldest[: OPEN_MAX // _FORGOTTEN_AT_ONCE]:
            del self._open[session]

    def note(self, ended: NDArray[Any], n: NDArray[np.float64]) -> None:
        """Take a tenant's sessions that ended: 1 in `n` is as unusual. They are learnt later.

        What the gate of learning calls suspicious is not learnt at all.
        """
        clean = ended[n < self._suspicious_n] if self._columns else ended[:0]
        if not len(clean):
            return
        tenant = int(clean["tenant"][0])
        waiting = self._lessons.get(tenant)
        lessons = clean.copy() if waiting is None else np.concatenate((waiting, clean))
        self._lessons[tenant] = lessons if len(lessons) <= 2 * LESSONS_MAX else _first(lessons)

    def turn(self, window_us: int) -> None:
        """Enter another window: learn what the one before it has taught."""
        for tenant in sorted(self._lessons):
            lessons = _first(self._lessons[tenant])
            for column in self._columns:
                column.learn(lessons, window_us)
        self._lessons.clear()
        for column in self._columns:
            column.forget()

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what detectors have learnt, and what they are about to, as JSON and arrays."""
        if not self._columns:
            return {}, {}
        models: list[Any] = []
        arrays: dict[str, NDArray[Any]] = {}
        for name, column in zip(self.columns, self._columns, strict=True):
            for cohort in sorted(column.cohorts):
                taught = column.cohorts[cohort]
                if taught.packed is None:
                    taught.packed = packed(taught.model, column.detector.name)
                arrays[f"model{len(models)}"] = np.frombuffer(taught.packed, np.uint8)
                models.append([name, *cohort, taught.sessions, taught.used_us])
        open_ = sorted(self._open)
        lessons = [_first(self._lessons[tenant]) for tenant in sorted(self._lessons)]
        arrays["lessons"] = np.concatenate(lessons) if lessons else np.zeros(0, RECORD)
        arrays["open"] = np.array([(key, self._open[key][0]) for key in open_], _OPEN)
        most = [self._open[session][1] for session in open_]
        arrays["most"] = np.array(most, np.int32).reshape(len(open_), len(self._columns))
        origins = [origin_of(column.detector) for column in self._columns]
        return {"columns": self.columns, "origins": origins, "models": models}, arrays

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what a dump knows of these very detectors; others begin anew.

        Raises
        ------
        StateError
            What a detector had learnt is damaged, or was learnt by another version of it.
        """
        if not meta or not self._columns:
            return
        before = dict(zip(meta["columns"], meta["origins"], strict=True))
        here = dict(zip(self.columns, self._columns, strict=True))
        for name in before.keys() & here.keys():
            _check_origin(here[name].detector, before[name])
        for place, (name, tenant, group, sessions, used_us) in enumerate(meta["models"]):
            if name in here:
                column, data = here[name], arrays[f"model{place}"].tobytes()
                own = packages_of(column.detector)
                model = unpacked(data, column.detector.name, own)
                taught = _Taught(model, warmup_of(column.detector, model), sessions, used_us, data)
                column.cohorts[tenant, group] = taught
        lessons = upgraded(arrays["lessons"], RECORD)
        for tenant in np.unique(lessons["tenant"]).tolist():
            self._lessons[tenant] = lessons[lessons["tenant"] == tenant]
        most = moved(arrays["most"], meta["columns"], self.columns, _NOT_KNOWN)
        for (session, start_us), levels in zip(arrays["open"].tolist(), most.tolist(), strict=True):
            self._open[session] = start_us, levels


def _check_origin(detector: Detector, before: str) -> None:
    now = origin_of(detector)
    if now != before:
        raise StateError(
            f"detector {detector.name}: what it has learnt is of {before}, and here is {now}: "
            "install that version again, or give the detector another name, and it begins anew"
        )


def moved(
    values: NDArray[Any], before: Iterable[str], now: Sequence[str], missing: int
) -> NDArray[Any]:
    """Return values by session and column with the columns there are now."""
    places = {name: place for place, name in enumerate(before)}
    found = np.full((len(values), len(now)), missing, values.dtype)
    for place, name in enumerate(now):
        if name in places:
            found[:, place] = values[:, places[name]]
    return found


def _first(lessons: NDArray[Any]) -> NDArray[Any]:
    """Return lessons in an order of their own, as good as random, and no more than may be."""
    mixed = lessons["session"] * _MIX + lessons["start_us"].astype(np.uint64)
    mixed = (mixed ^ (mixed >> _MIX_SHIFT)) * _MIX
    order = np.lexsort((*lessons["total"].T, lessons["ts_us"], mixed))
    return lessons[order[:LESSONS_MAX]]
