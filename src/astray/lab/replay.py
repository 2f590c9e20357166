"""A recording through the real dataflow, as fast as it goes, and what would have come of it."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from astray.alerts.blindness import silence_finding
from astray.alerts.review import review_finding
from astray.baseline.judgement import Fate, Judgement
from astray.config import Config
from astray.decide.decision import Decision
from astray.decide.review import Review
from astray.decide.silence import Over, Silence
from astray.detectors.models import check_detectors
from astray.errors import ConfigError
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.kernels import compile_kernels
from astray.flow.naming import check_sources
from astray.flow.reading import Reading
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Sources
from astray.flow.steps import Context
from astray.lab.labels import Label, Labels, label_of
from astray.lab.metrics import pr_auc, roc_auc, threshold_at
from astray.lab.oddest import Explanations
from astray.lab.sessions import Names, SessionScore, session_scores

FALSE_RATES = (0.05, 0.01, 0.001)
_EPOCH_S = 3600.0
_FATES = {
    "took_effect": Fate.TOOK_EFFECT,
    "found_nothing": Fate.FOUND_NOTHING,
    "beyond_the_end": Fate.WAITS,
}

_Tested = tuple[SessionScore, Label]
_AtRates = Mapping[float, Sequence[_Tested]]


@dataclass(frozen=True)
class Replay:
    """What came of a replay; there are explanations where they were asked for.

    `fates` has what became of each verdict, where any were given.
    """

    counters: Counters
    seconds: float
    sessions: list[SessionScore]
    decisions: list[Decision]
    notices: list[Silence | Review]
    event_us: Mapping[str, int]
    explanations: Explanations | None = None
    fates: Sequence[Fate] | None = None

    def summary(self, labels: Labels | None = None) -> dict[str, Any]:
        """Return the replay in numbers; with labels, how good it was."""
        summary: dict[str, Any] = {
            "events": self.counters.events,
            "rejects": self.counters.rejects.total(),
            "rejects_by_reason": {str(why): n for why, n in self.counters.rejects.items()},
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self.counters.events / max(self.seconds, 1e-9)),
            "sessions": len(self.sessions),
            "agents": len({(session.tenant, session.agent) for session in self.sessions}),
            "cases": len({decision.case for decision in self.decisions}),
            "suspensions": len({d.case for d in self.decisions if d.suspends}),
            "silences": sum(_begins(notice) for notice in self.notices),
            "reviews": sum(_is_review(notice) for notice in self.notices),
            "floods": sum(_is_flood(notice) for notice in self.notices),
        }
        if self.fates is not None:
            summary["verdicts"] = {key: self.fates.count(fate) for key, fate in _FATES.items()}
        if labels is not None:
            summary["quality"] = quality(self.sessions, labels, self.event_us)
        return summary

    def findings(self) -> list[dict[str, Any]]:
        """Return the alerts that are about no session, as a run would have shown them, in time."""
        return [
            orjson.loads(
                review_finding(notice) if isinstance(notice, Review) else silence_finding(notice)
            )
            for notice in sorted(self.notices, key=lambda one: (one.ts_us, one.id))
        ]


def _is_flood(notice: Silence | Review) -> bool:
    return isinstance(notice, Review) and notice.is_flood


def _is_review(notice: Silence | Review) -> bool:
    return isinstance(notice, Review) and not notice.is_flood


def _begins(notice: Silence | Review) -> bool:
    return isinstance(notice, Silence) and notice.over is Over.NOT_YET


def replay(
    events: Path | Sequence[Path],
    config: Config,
    labels: Labels | None = None,
    rejects: Path | None = None,
    *,
    explain: bool = False,
    verdicts: tuple[Judgement, ...] | None = None,
) -> Replay:
    """Replay a recording; a policy's mode "auto" enforces, as nothing is sent.

    Several files, or directories of files, are one recording: they are read side by side, as
    a run reads its sources. With `explain` every session can be explained afterwards. `verdicts`
    take effect when the recording comes to their time.

    Raises
    ------
    ConfigError
        The recording is not there or empty, a detector cannot be made, or the labels are of
        another recording.
    SourceError
        It cannot be read to its end.
    """
    sources = [str(events)] if isinstance(events, Path) else list(map(str, events))
    check_sources(sources, follow=False)
    check_detectors(config)
    config = enforced(config)
    compile_kernels()
    wanted = {label.first_bad_event for label in (labels or {}).values()} - {""}
    names, collector, counters = Names(wanted), Collector(), Counters()
    why = Explanations(names) if explain else None
    context = Context(
        config, sources, counters, flush=True, watch=names, audit=why, judgements=verdicts or ()
    )
    reading = Reading()
    source = Sources(sources, reading)
    started = time.perf_counter()
    run_flow(build_flow(context, source, Calling(collector), RejectsFile(rejects)), _EPOCH_S)
    reading.raise_fault()
    seconds = time.perf_counter() - started
    sessions = session_scores(collector.scored, collector.lines, names)
    if labels and sessions and not any(label_of(labels, one.key) for one in sessions):
        raise ConfigError([f"none of the {len(labels):,} labels is of a session in {sources[0]}"])
    decisions, notices = list(collector.decisions.values()), list(collector.notices.values())
    fates = None if verdicts is None else _fates(verdicts, counters)
    return Replay(counters, seconds, sessions, decisions, notices, names.event_us, why, fates)


def _fates(verdicts: Sequence[Judgement], counters: Counters) -> list[Fate]:
    """Return what became of each verdict; every shard has heard of it, one or a few have it."""
    shards = [watched.shard.judging.fates() for watched in counters.shards.values()]
    return [
        max((fates[one] for fates in shards if one in fates), default=Fate.WAITS)
        for one in {verdict.id for verdict in verdicts}
    ]


def check_sessions(result: Replay, events: Path) -> None:
    """Raise a `ConfigError` where a recording has no session: there is nothing to be told of."""
    if not result.sessions:
        rejects = ", ".join(f"{n:,} {why}" for why, n in result.counters.rejects.items())
        raise ConfigError([f"{events}: no event in it; rejects: {rejects or 'none'}"])


def enforced(config: Config) -> Config:
    """Return the configuration with every mode that is "auto" enforcing."""

    def of(policy: Any) -> Any:
        return policy.model_copy(update={"mode": "enforce"}) if policy.mode == "auto" else policy

    return config.model_copy(
        update={
            "default_policy": of(config.default_policy),
            "policy": tuple(map(of, config.policy)),
        }
    )


def quality(
    sessions: list[SessionScore], labels: Labels, event_us: Mapping[str, int]
) -> dict[str, Any]:
    """Return how well the scores tell bad sessions from benign ones, over the test phase.

    What there is nothing to measure on is NaN, which is null in JSON.
    """
    tested = [
        (session, label)
        for session in sessions
        if (label := label_of(labels, session.key)) and label.phase == "test"
    ]
    n = np.array([session.n for session, _ in tested])
    bad = np.array([label.bad for _, label in tested], np.bool_)
    at = {rate: threshold_at(n[~bad], rate) for rate in FALSE_RATES}
    reached = {rate: [s for s in tested if s[1].bad and s[0].n > at[rate]] for rate in at}
    count = int(bad.sum())
    in_time = {
        rate: [one for one in found if _in_time(*one, at[rate], event_us)]
        for rate, found in reached.items()
    }
    return {
        "sessions": len(tested),
        "bad": count,
        "roc_auc": roc_auc(n, bad),
        "pr_auc": pr_auc(n, bad),
        "recall_at": {f"{rate}": _part(len(reached[rate]), count) for rate in at},
        "prevented_at": {f"{rate}": _part(len(in_time[rate]), count) for rate in at},
        "false_rate": {
            f"{rate}": {"nominal": rate, "realised": _share(n[~bad] >= 1 / rate)} for rate in at
        },
        "by_attack": _by_attack(tested, reached, in_time),
    }


def _by_attack(tested: Sequence[_Tested], reached: _AtRates, in_time: _AtRates) -> dict[str, Any]:
    """Return what was reached, and in time, of each kind of attack."""
    counts = Counter(_kind(label) for _, label in tested if label.bad)
    found: dict[str, Any] = {}
    for kind, count in sorted(counts.items()):
        found[kind] = {"sessions": count}
        for name, at_rates in (("recall_at", reached), ("prevented_at", in_time)):
            found[kind][name] = {
                f"{rate}": _part(sum(_kind(label) == kind for _, label in ones), count)
                for rate, ones in at_rates.items()
            }
    return found


def _kind(label: Label) -> str:
    return label.attack or "unnamed"


def _part(count: int, of: int) -> float:
    return count / of if of else float("nan")


def _share(flags: Any) -> float:
    return float(np.mean(flags)) if len(flags) else float("nan")


def _in_time(session: SessionScore, label: Label, n: float, event_us: Mapping[str, int]) -> bool:
    """Return whether a session was above a threshold at or before its first bad event."""
    first_us = event_us.get(label.first_bad_event)
    return first_us is not None and any(
        ts_us <= first_us and reached > n for ts_us, reached in session.steps
    )
