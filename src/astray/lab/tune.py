"""Trying parameters on recordings, several at a time, and ranking what came of it.

Parameters are chosen on the sessions of the test phase that began first; the last of them
are held out, and tell how good the choice is on what it was not made for. The warm-up is
learnt from and measured nowhere.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astray.errors import AstrayError, ConfigError, Passing
from astray.lab.labels import read_labels
from astray.lab.outcomes import Outcomes, outcomes_of
from astray.lab.replay import replay
from astray.lab.sweep import Parameters, config_of

MEASURES = ("recall", "mean_recall", "prevented", "pr_auc", "roc_auc")
"""What may be aimed at; `mean_recall` is the mean over the kinds of attack."""

BUDGETS = (100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)
"""Nominal false suspensions per million sessions that are tried as thresholds."""

_LOOK_EVERY_S = 0.2
_THREAD_S = 5.0


@dataclass(frozen=True, slots=True)
class Recording:
    """Events, and the file with their labels."""

    events: Path
    labels: Path


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted: the most of a measure, at no more false ones than are accepted.

    `accepted` is what really happens per million benign sessions; which of the `budgets`
    comes to that is found out.
    """

    by: str = "recall"
    accepted: float = 1_000.0
    budgets: tuple[float, ...] = BUDGETS
    held_out: float = 0.3


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of one set of parameters at one budget, means over the recordings."""

    budget: float
    recall: float
    mean_recall: float
    prevented: float
    false_per_million: float
    pr_auc: float
    roc_auc: float


@dataclass(frozen=True)
class Trial:
    """One set of parameters and what came of it: per recording, and at its best budget.

    `chosen` is measured where parameters are chosen, `held_out` on the rest.
    """

    parameters: Parameters
    outcomes: tuple[Outcomes, ...]
    chosen: Measured
    held_out: Measured
    accepted: bool


@dataclass(frozen=True, slots=True)
class _Failed:
    """What kept a worker from its work; exceptions themselves do not travel well."""

    problems: tuple[str, ...]
    lasting: bool


def run_trials(
    base: Path | None,
    recordings: Sequence[Recording],
    trials: Sequence[Parameters],
    jobs: int,
    stop: threading.Event,
    done: Callable[[], None],
) -> list[tuple[Parameters, tuple[Outcomes, ...]]]:
    """Replay every recording with every set of parameters, in processes of their own.

    `done` is called after each replay. When `stop` is set the work is left, and what has been
    measured on all recordings is returned.

    Raises
    ------
    ConfigError
        A recording cannot be replayed, or a process died.
    """
    found: dict[tuple[int, int], Outcomes] = {}
    with _workers(jobs) as pool:
        waiting: dict[Future[Outcomes | _Failed], tuple[int, int]] = {}
        with _unheard(signal.SIGINT):  # Ctrl-C goes to all processes; we alone act on it
            for place, parameters in enumerate(trials):
                for number, recording in enumerate(recordings):
                    future = pool.submit(_measure, base, parameters, recording)
                    waiting[future] = (place, number)
        while waiting and not stop.is_set():
            ended, _ = wait(waiting, _LOOK_EVERY_S, FIRST_COMPLETED)
            for future in ended:
                found[waiting.pop(future)] = _outcome(future)
                done()
    numbers = range(len(recordings))
    return [
        (parameters, tuple(found[place, number] for number in numbers))
        for place, parameters in enumerate(trials)
        if all((place, number) in found for number in numbers)
    ]


def _measure(base: Path | None, parameters: Parameters, recording: Recording) -> Outcomes | _Failed:
    """Replay a recording; called in a worker."""
    try:
        labels = read_labels(recording.labels)
        result = replay(recording.events, config_of(base, parameters), labels)
    except AstrayError as error:
        problems = error.problems if isinstance(error, ConfigError) else (str(error),)
        return _Failed(tuple(map(str, problems)), error.lasting)
    return outcomes_of(result.sessions, labels, result.event_us)


def _outcome(future: "Future[Outcomes | _Failed]") -> Outcomes:
    try:
        outcome = future.result()
    except BrokenProcessPool:
        problem = Passing("a process of the sweep died, perhaps for want of memory: fewer --jobs")
        raise ConfigError([problem]) from None
    if isinstance(outcome, _Failed):
        kind = str if outcome.lasting else Passing
        raise ConfigError(list(map(kind, outcome.problems)))
    return outcome


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes; on the way out none is left, whatever it is at."""
    others, threads = set(multiprocessing.active_children()), set(threading.enumerate())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        ours = set(multiprocessing.active_children()) - others
        pool.shutdown(wait=False, cancel_futures=True)
        for process in ours:
            process.terminate()
        for process in ours:
            process.join()
        # A thread of the pool that still closes its pipes while Python ends is complained about.
        for thread in set(threading.enumerate()) - threads:
            thread.join(_THREAD_S)


@contextmanager
def _unheard(number: signal.Signals) -> Iterator[None]:
    """Hold a signal back; processes that are started meanwhile never hear it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ranked(measured: Sequence[tuple[Parameters, tuple[Outcomes, ...]]], aim: Aim) -> list[Trial]:
    """Return the trials at their best budgets, the best first.

    Those with more false ones than are accepted come last, the fewest first. Of equals the
    one that was tried first is better: the configuration as it was before anything else.
    """
    return sorted((_trial(*one, aim) for one in measured), key=lambda trial: _key(trial, aim))


def _key(trial: Trial, aim: Aim) -> tuple[bool, float, float, float]:
    chosen = trial.chosen
    over = 0.0 if trial.accepted else chosen.false_per_million
    wanted, second = getattr(chosen, aim.by), chosen.pr_auc
    return not trial.accepted, over, -np.nan_to_num(wanted), -np.nan_to_num(second)


def _trial(parameters: Parameters, outcomes: tuple[Outcomes, ...], aim: Aim) -> Trial:
    parts = [each.divided(aim.held_out) for each in outcomes]
    first, last = [part for part, _ in parts], [part for _, part in parts]
    at = [measured_at(first, budget) for budget in aim.budgets]
    accepted = [each for each in at if each.false_per_million <= aim.accepted]
    if accepted:
        chosen = max(accepted, key=lambda each: (getattr(each, aim.by), -each.budget))
    else:
        chosen = min(at, key=lambda each: (each.false_per_million, each.budget))
    held_out = measured_at(last, chosen.budget)
    return Trial(parameters, outcomes, chosen, held_out, bool(accepted))


def measured_at(parts: Sequence[Outcomes], budget: float) -> Measured:
    """Return the measures at a budget, means over the recordings that have something to measure."""
    curves = [part.curve() for part in parts]
    return Measured(
        budget=budget,
        recall=_mean([part.recall(budget) for part in parts]),
        mean_recall=_mean([_mean(list(part.recall_by_attack(budget).values())) for part in parts]),
        prevented=_mean([part.prevented(budget) for part in parts]),
        false_per_million=_mean([part.false_per_million(budget) for part in parts]),
        pr_auc=_mean([curve.pr_auc for curve in curves]),
        roc_auc=_mean([curve.roc_auc for curve in curves]),
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
