"""Trying parameters on recordings: what is best, in which processes, and what an end leaves."""

import threading

import numpy as np
import pytest

from astray.config import load_config
from astray.errors import ConfigError
from astray.lab.labels import Label, read_labels
from astray.lab.outcomes import outcomes_of
from astray.lab.replay import replay
from astray.lab.sessions import SessionScore
from astray.lab.simulate import SimulationOptions, simulate, write
from astray.lab.tune import Aim, Recording, measured_at, ranked, run_trials

WINDOW = "baseline.window_s"


def outcomes(benign, bad):
    """Return outcomes of benign and bad sessions, given their n in the order of their time."""
    sessions, labels = [], {}
    for place, (n, is_bad) in enumerate([*((n, False) for n in benign), *((n, True) for n in bad)]):
        one = SessionScore(f"s{place}", f"a{place % 3}", 0, n=float(n), steps=[(0, float(n))])
        sessions.append(one)
        label = Label(one.session, one.agent, is_bad, "x" if is_bad else "", "test", "")
        labels[label.key] = label
    return outcomes_of(sessions, labels, {})


def trial(parameters, benign, bad):
    """Return what was measured on two recordings alike, nothing of it held out."""
    return parameters, (outcomes(benign, bad),) * 2


def test_the_most_of_what_is_wanted_at_no_more_than_is_accepted_wins():
    """What has too many false ones at every budget comes last; of equals the first stays first."""
    aim = Aim(accepted=100_000.0, budgets=(1_000.0, 100_000.0), held_out=0.0)
    measured = [
        trial({}, [1] * 9 + [50], [5, 2000]),
        trial({"noisy": 1}, [5000] * 10, [9000, 9000]),
        trial({"better": 1}, [1] * 9 + [50], [20, 2000]),
        trial({"same": 1}, [1] * 9 + [50], [20, 2000]),
    ]

    found = ranked(measured, aim)

    assert [one.parameters for one in found] == [{"better": 1}, {"same": 1}, {}, {"noisy": 1}]
    assert [one.accepted for one in found] == [True, True, True, False]
    assert [one.chosen.budget for one in found] == [100_000.0, 100_000.0, 1_000.0, 1_000.0]
    assert [one.chosen.recall for one in found] == [1.0, 1.0, 0.5, 1.0]


def test_what_really_happens_decides_which_budget_is_chosen():
    """A budget of which more than the accepted share of benign sessions is reached is not taken."""
    benign = [1] * 7 + [500] * 3  # 30 % reach 1 in 500, where 0.2 % should
    aim = Aim(accepted=200_000.0, budgets=(1_000.0, 2_000.0), held_out=0.0)

    (found,) = ranked([trial({}, benign, [600, 1500])], aim)

    assert (found.chosen.budget, found.chosen.recall) == (1_000.0, 0.5)
    assert found.chosen.false_per_million == 0.0


def test_nothing_is_chosen_by_what_is_held_out():
    """A trial that is better on the last sessions alone does not win by them, and they are told."""
    aim = Aim(budgets=(10_000.0,), held_out=0.5, accepted=1e5)
    first, last = [1, 1, 1, 200], [1, 1, 1, 900]
    better_first = ({"first": 1}, (_halves(first, [1, 1, 1, 1]),))
    better_last = ({"last": 1}, (_halves([1, 1, 1, 1], last),))

    found = ranked([better_last, better_first], aim)

    assert found[0].parameters == {"first": 1}
    assert (found[0].chosen.recall, found[0].held_out.recall) == (1.0, 0.0)
    assert (found[1].chosen.recall, found[1].held_out.recall) == (0.0, 1.0)


def _halves(first, last):
    """Return outcomes of which the last of each half is bad, in the order of their time."""
    sessions, labels = [], {}
    for place, n in enumerate([*first, *last]):
        one = SessionScore(f"s{place}", f"a{place}", place, n=float(n))
        sessions.append(one)
        bad = place % 4 == 3
        label = Label(one.session, one.agent, bad, "", "test", "")
        labels[label.key] = label
    return outcomes_of(sessions, labels, {})


def test_measures_are_means_over_recordings_that_have_them():
    """A recording without bad sessions says nothing of recall, and its false ones count."""
    parts = [outcomes([1, 1], [5000, 1]), outcomes([1, 5000], [])]

    found = measured_at(parts, 1_000.0)

    assert (found.recall, found.false_per_million) == (0.5, 250_000.0)
    assert found.mean_recall == 0.5
    assert not np.isnan(found.roc_auc)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Make a small recording with attacks."""
    folder = tmp_path_factory.mktemp("recording")
    options = SimulationOptions(agents=8, days=4, seed=4, attacks={"exfiltration": 4})
    write(simulate(options), folder / "events.jsonl", folder / "labels.jsonl")
    return Recording(folder / "events.jsonl", folder / "labels.jsonl")


@pytest.mark.slow
def test_processes_measure_what_a_replay_does(recording):
    """What a worker brings back is what a replay in this process gives, trial by trial."""
    done = []
    trials = [{}, {WINDOW: 600}]

    found = run_trials(
        None, [recording], trials, 2, threading.Event(), lambda: done.append(1)
    )  # fmt: skip

    labels = read_labels(recording.labels)
    assert [parameters for parameters, _ in found] == trials
    assert len(done) == 2
    for parameters, (measured,) in found:
        config = load_config(overrides={"baseline": {"window_s": parameters.get(WINDOW, 3600)}})
        result = replay(recording.events, config, labels)
        expected = outcomes_of(result.sessions, labels, result.event_us)
        assert measured.n.tolist() == expected.n.tolist()
        assert measured.name.tolist() == expected.name.tolist()
    assert found[0][1][0].n.tolist() != found[1][1][0].n.tolist()


def test_what_is_done_when_the_work_is_left_is_kept(recording):
    """A stop after the first of three replays keeps the first, and leaves no process behind."""
    stop = threading.Event()

    found = run_trials(None, [recording], [{}, {WINDOW: 600}, {WINDOW: 900}], 1, stop, stop.set)

    assert [parameters for parameters, _ in found][:1] == [{}]
    assert len(found) < 3


def test_a_recording_that_breaks_off_breaks_the_sweep_with_its_name(recording, tmp_path):
    """What a worker could not read is said here, and it is worth another try."""
    damaged = tmp_path / "damaged.jsonl.gz"
    damaged.write_bytes(b"not packed")

    with pytest.raises(ConfigError, match=r"damaged\.jsonl\.gz: cannot be read beyond") as caught:
        run_trials(
            None, [Recording(damaged, recording.labels)], [{}], 1, threading.Event(), lambda: None
        )

    assert not caught.value.lasting
