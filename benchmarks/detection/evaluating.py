"""What one recording says of astray, of what others would use, and of single statistics."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from astray.baseline.layout import AGE_CLASSES, STATISTICS
from astray.config import Config, load_config
from astray.decide.decision import Decision
from astray.lab.labels import Label
from astray.lab.sessions import SessionScore
from baselines.protocol import AGGREGATIONS, Key, scored_sessions
from baselines.registry import BASELINES
from detection.core import Run, Seam, run
from detection.lines import read_events
from detection.measures import FALSE_RATES, Ranking, flags_at, intervals, measured
from detection.recordings import Recording

Numbers = dict[str, Any]
Labels = Mapping[Key, Label]

_AGE_NAMES = ("below 5", "5 to 30", "above 30")
_FALSE_RATE = 0.01
_HOUR_US = 3_600_000_000
_CAMPAIGN_MIN = 3
_TOLD = (40, 60)
"""Scores: that of a third look, and that at which the default policy alerts."""

_LATE = 0.05
"""Where it is asked whether a detection came in time, and what misses look like."""


def tested(labels: Labels) -> list[Key]:
    """Return the sessions that are measured, in a fixed order."""
    return sorted(key for key, label in labels.items() if label.phase == "test")


def ranking_of(scores: Mapping[Key, float], labels: Labels, keys: list[Key]) -> Ranking:
    """Return sessions ranked by their scores."""
    agents = {agent: place for place, agent in enumerate(sorted({agent for agent, _ in keys}))}
    return Ranking(
        np.array([scores[key] for key in keys], float),
        np.array([labels[key].bad for key in keys], np.bool_),
        np.array([agents[agent] for agent, _ in keys], np.int64),
    )


def quality_of(
    recording: Recording, config: Config | None = None, seam: Seam | None = None
) -> Numbers:
    """Run a recording, and return how good the scores were, with the reasons of what was missed."""
    labels = recording.labels()
    done = run_of(recording, labels, config, seam)
    sessions = {(one.agent, one.session): one for one in done.sessions}
    keys = tested(labels)
    ranking = ranking_of({key: one.n for key, one in sessions.items()}, labels, keys)
    caught = {rate: flags_at(ranking, rate) for rate in FALSE_RATES}
    return {
        "sessions": len(keys),
        "bad": int(ranking.bad.sum()),
        "data": recording.digest(),
        "measures": measured(ranking),
        "intervals": intervals(ranking),
        "by_attack": _by_attack(labels, keys, caught),
        "in_time": _in_time(sessions, labels, keys, flags_at(ranking, _LATE), done),
        "above_40": float(np.mean([sessions[key].score >= 40.0 for key in keys])),
        "by_age": _by_age(sessions, labels, keys, done),
        "new_agents": _new_agents(sessions, labels, done.decisions),
        "statistics": _statistics(done, labels, keys),
        "floods": _floods(sessions, labels, done),
        "campaigns": _campaigns(sessions, labels),
    }


def run_of(
    recording: Recording, labels: Labels, config: Config | None = None, seam: Seam | None = None
) -> Run:
    """Run a recording with the default configuration, or another."""
    wanted = {label.first_bad_event for label in labels.values()} - {""}
    return run(recording.events, config or load_config(), wanted, seam)


def baselines_of(recording: Recording) -> Numbers:
    """Return the measures of every baseline, each by the aggregation that is best for it."""
    labels = recording.labels()
    keys = tested(labels)
    made = {name: kind() for name, kind in BASELINES.items()}
    found = scored_sessions(read_events(recording.events), made)
    return {name: _best(scores, labels, keys) for name, scores in found.items()}


def _best(scores: Mapping[Key, tuple[float, ...]], labels: Labels, keys: list[Key]) -> Numbers:
    """Return the largest value of each measure over the aggregations, and which it was."""
    best: Numbers = {}
    for place, aggregation in enumerate(AGGREGATIONS):
        by_session = {key: scores[key][place] for key in keys}
        ranking = ranking_of(by_session, labels, keys)
        for name, value in measured(ranking).items():
            if not name.startswith("realised") and value > best.get(name, (-1.0,))[0]:
                best[name] = (value, aggregation)
    return {name: {"value": value, "by": by} for name, (value, by) in best.items()}


def _by_attack(labels: Labels, keys: list[Key], caught: Mapping[float, Any]) -> Numbers:
    """Return, by kind of attack, how many sessions there were and the share that was caught."""
    kinds = np.array([labels[key].attack if labels[key].bad else "" for key in keys])
    found: Numbers = {}
    for kind in sorted({*kinds.tolist()} - {""}):
        of_kind = kinds == kind
        recalls = {f"recall_at_{rate}": float(caught[rate][of_kind].mean()) for rate in caught}
        found[kind] = {"sessions": int(of_kind.sum()), **recalls}
    return found


def _in_time(
    sessions: Mapping[Key, SessionScore],
    labels: Labels,
    keys: list[Key],
    caught: Any,
    done: Run,
) -> float | None:
    """Return the share of the detected that crossed at or before their first bad event."""
    flagged = [key for key, flag in zip(keys, caught.tolist(), strict=True) if flag]
    benign = sorted((sessions[key].n for key in keys if not labels[key].bad), reverse=True)
    found = [key for key in flagged if labels[key].bad]
    if not found or not benign:
        return None
    # Like `flags_at`: above it lies at most the share that is accepted.
    threshold = benign[min(int(_LATE * len(benign)), len(benign) - 1)]
    early = [
        any(ts_us <= done.event_us.get(labels[key].first_bad_event, -1) and n > threshold
            for ts_us, n in sessions[key].steps)
        for key in found
    ]  # fmt: skip
    return float(np.mean(early))


def _by_age(
    sessions: Mapping[Key, SessionScore], labels: Labels, keys: list[Key], done: Run
) -> Numbers:
    """Return, by age of the agent, the realised rates and the false suspensions."""
    ages = done.ages()
    suspended = {(d.agent, d.session) for d in done.decisions if d.suspends}
    found: Numbers = {}
    for age in range(AGE_CLASSES):
        benign = [key for key in keys if not labels[key].bad and ages[key] == age]
        n = np.array([sessions[key].n for key in benign])
        found[_AGE_NAMES[age]] = {
            "benign": len(benign),
            "reaching_1_in_100": int(np.sum(n >= 100.0)),
            "reaching_1_in_1000": int(np.sum(n >= 1000.0)),
            "suspended": len(suspended.intersection(benign)),
        }
    return found


def _new_agents(
    sessions: Mapping[Key, SessionScore], labels: Labels, decisions: list[Decision]
) -> Numbers:
    """Return what became of benign first sessions of agents that came after the warm-up."""
    first: dict[str, Key] = {}
    for key, session in sorted(sessions.items(), key=lambda item: item[1].start_us):
        first.setdefault(session.agent, key)
    late = [key for key in first.values() if key in labels and labels[key].phase == "test"]
    benign = [key for key in late if not labels[key].bad]
    alerted = Counter((decision.agent, decision.session) for decision in decisions)
    return {
        "agents": len(benign),
        "alerts": sum(1 for key in benign if alerted[key]),
        "median_score": float(np.median([sessions[key].score for key in benign] or [0.0])),
    }


def _campaigns(sessions: Mapping[Key, SessionScore], labels: Labels) -> Numbers:
    """Return, by kind of attack, how many agents had several bad sessions, and were told of early.

    A campaign is caught at a score if a session before its last, which is what it is for, has
    reached it.
    """
    acts: dict[tuple[str, str], list[SessionScore]] = {}
    for key, label in labels.items():
        if label.bad and key in sessions:
            acts.setdefault((label.attack, key[0]), []).append(sessions[key])
    found: Numbers = {}
    for (kind, _), own in sorted(acts.items()):
        if len(own) < _CAMPAIGN_MIN:
            continue
        of_kind = found.setdefault(kind, {"campaigns": 0} | {f"caught_at_{s}": 0 for s in _TOLD})
        of_kind["campaigns"] += 1
        *before, _ = sorted(own, key=lambda one: one.start_us)
        for score in _TOLD:
            of_kind[f"caught_at_{score}"] += any(one.score >= score for one in before)
    return found


def _statistics(done: Run, labels: Labels, keys: list[Key]) -> Numbers:
    """Return how each statistic alone would have done, by kind of attack."""
    statistics = done.statistics()
    if not any(labels[key].bad for key in keys):
        return {}
    found: Numbers = {}
    for place, name in enumerate(STATISTICS):
        alone = {key: float(statistics[key][place]) for key in keys}
        ranking = ranking_of(alone, labels, keys)
        measures = measured(ranking)
        caught = {_FALSE_RATE: flags_at(ranking, _FALSE_RATE)}
        by_attack = _by_attack(labels, keys, caught)
        recalls = {kind: row[f"recall_at_{_FALSE_RATE}"] for kind, row in by_attack.items()}
        found[name] = {"roc_auc": measures.get("roc_auc"), "recall_by_attack": recalls}
    return found


def _floods(sessions: Mapping[Key, SessionScore], labels: Labels, done: Run) -> Numbers:
    """Return what was told of floods: how many, and how many of them while many attacked."""
    attackers: dict[int, set[str]] = {}
    for key, session in sessions.items():
        if key in labels and labels[key].bad:
            attackers.setdefault(session.start_us // _HOUR_US, set()).add(key[0])
    largest = sorted(map(len, attackers.values()), reverse=True)[:10]
    during = [len(attackers.get(flood.ts_us // _HOUR_US, ())) for flood in done.floods]
    return {
        "told": len(done.floods),
        "while_many_attacked": sum(count >= flood.count / 2 for count, flood in zip(
            during, done.floods, strict=True
        )),
        "attackers": during,
        "most_attackers_in_an_hour": largest,
    }  # fmt: skip
