"""What each kind of attack does to the sessions that it takes."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from astray.lab.simulate import ATTACKS, Recording, SimulationOptions, simulate
from astray.lab.simulate.catalog import PRIVILEGED
from astray.lab.simulate.recording import Columns

# A victim, all events of its session, the bad ones among them.
Attacked = dict[str | None, list[tuple[int, Columns, Columns]]]
Usual = dict[int, Columns]

ASKED = dict.fromkeys(ATTACKS, 12) | {"slow_abuse": 3, "patient_poisoning": 4}
CAMPAIGNS = ("slow_abuse", "patient_poisoning")


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Record a small fleet under every kind of attack."""
    return simulate(
        SimulationOptions(agents=40, agents_per_group=10, days=9.0, seed=2, attacks=ASKED)
    )


@pytest.fixture(scope="module")
def attacked(recording: Recording) -> Attacked:
    """Group the sessions by the attack on them, in time order."""
    columns = recording.columns
    by_kind: Attacked = defaultdict(list)
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, session in enumerate(columns["session"].tolist()):
        rows_of[session].append(row)
    for session, rows in rows_of.items():
        kind = recording.sessions[session].attack
        events = columns[rows]
        by_kind[kind].append((recording.sessions[session].agent, events, events[events["bad"]]))
    return by_kind


@pytest.fixture(scope="module")
def usual(attacked: Attacked) -> Usual:
    """Collect what each agent does in its normal sessions."""
    events: dict[int, list[Columns]] = defaultdict(list)
    for agent, rows, _ in attacked[None]:
        events[agent].append(rows)
    return {agent: np.concatenate(parts) for agent, parts in events.items()}


@pytest.mark.parametrize("kind", [kind for kind in ATTACKS if kind not in CAMPAIGNS])
def test_as_many_sessions_are_attacked_as_asked_for(recording: Recording, kind: str) -> None:
    """Each kind of attack gets its number of sessions."""
    assert Counter(label["attack"] for label in recording.labels)[kind] == ASKED[kind]


def test_labels_and_events_tell_the_same_story(recording: Recording) -> None:
    """Every label has its session, every attack its first bad event, and no attack is early."""
    sessions: dict[str, list[int]] = defaultdict(list)
    for row, session in enumerate(recording.columns["session"].tolist()):
        sessions[recording.sessions[session].name].append(row)

    assert {label["session"] for label in recording.labels} == set(sessions)
    for label in recording.labels:
        rows = sessions[label["session"]]
        bad = [recording.event_id(row) for row in rows if recording.columns["bad"][row]]
        assert label["first_bad_event"] == (bad[0] if bad else None)
        assert label["label"] == (label["attack"] is not None) == bool(bad)
        assert label["phase"] == "test" or not bad


def test_attacks_begin_after_the_warm_up(recording: Recording) -> None:
    """The first bad event lies in the test phase by the clock, too."""
    start_ms = SimulationOptions().start_ms
    bad_ms = recording.columns["ts_ms"][recording.columns["bad"]]

    assert bad_ms.min() >= start_ms + 3 * 86_400_000


def test_a_stolen_credential_mostly_comes_from_elsewhere(attacked: Attacked, usual: Usual) -> None:
    """Most thieves use a source that the victim never used."""
    foreign = [
        events["source"][0] not in usual[victim]["source"]
        for victim, events, _ in attacked["stolen_credential"]
    ]

    assert sum(foreign) > len(foreign) / 2


def test_an_enumeration_touches_many_resources(attacked: Attacked) -> None:
    """One action meets resource after resource."""
    for _, _, bad in attacked["enumeration"]:
        assert len(bad) >= 12
        if bad["resource"][0] >= 0:
            assert len(np.unique(bad["action"])) == 1
            assert len(np.unique(bad["resource"])) > 0.9 * len(bad)


def test_an_exfiltration_is_larger_than_the_usual(attacked: Attacked, usual: Usual) -> None:
    """Something is sent that exceeds 99 of 100 of the victim's events."""
    for victim, _, bad in attacked["exfiltration"]:
        sizes = usual[victim]["bytes"]
        assert bad["bytes"].max() > np.quantile(sizes[sizes >= 0], 0.99)


def test_a_privileged_action_is_rare_among_peers(
    recording: Recording, attacked: Attacked, usual: Usual
) -> None:
    """Only powerful actions are added, and the victim hardly ever does them."""
    for victim, _, bad in attacked["privileged_action"]:
        assert {recording.actions[number] for number in bad["action"]} <= PRIVILEGED.keys()
        assert np.isin(usual[victim]["action"], bad["action"]).mean() < 0.05


def test_slow_abuse_takes_one_foreign_thing_per_session(attacked: Attacked, usual: Usual) -> None:
    """Each session of a campaign has one bad event, on something else than the victim's."""
    sessions = attacked["slow_abuse"]

    assert len(sessions) >= 8 * ASKED["slow_abuse"]
    assert all(len(bad) == 1 for _, _, bad in sessions)
    assert not any(
        bad["resource"][0] in usual[victim]["resource"]
        for victim, _, bad in sessions
        if bad["resource"][0] >= 0
    )


def test_mimicry_does_what_the_victim_never_does(attacked: Attacked, usual: Usual) -> None:
    """Most sessions of a mimic show actions unknown of the victim."""
    novel = [
        bool(np.setdiff1d(bad["action"], usual[victim]["action"]).size)
        for victim, _, bad in attacked["mimicry"]
    ]

    assert sum(novel) > len(novel) / 2


def test_an_injected_task_sits_inside_a_normal_session(attacked: Attacked, usual: Usual) -> None:
    """Three to six actions are added to a session, at least one on a thing nobody knows."""
    everything = np.concatenate([events["resource"] for events in usual.values()])

    for _, events, bad in attacked["injected_task"]:
        assert 3 <= len(bad) <= 6
        assert len(events) > len(bad)
        assert not events["bad"][0]
        assert np.setdiff1d(bad["resource"], everything).size


def test_a_delegation_calls_one_agent_after_another(attacked: Attacked, usual: Usual) -> None:
    """Each of them once, amid normal work; mostly more than the victim ever called in a session."""
    more = []
    for victim, events, bad in attacked["delegation"]:
        assert len(np.unique(bad["target"])) == len(bad) >= 5
        assert (bad["target"] >= 0).all()
        assert not events["bad"][0]
        called = usual[victim][usual[victim]["target"] >= 0]
        most = max(Counter(called["session"].tolist()).values(), default=0)
        more.append(len(bad) > most)

    assert sum(more) > len(more) / 2


def test_patient_poisoning_shows_every_part_before_the_act(
    recording: Recording, attacked: Attacked
) -> None:
    """Each campaign has a victim of its own; its last session is the sum of the others."""
    campaigns: dict[int, list[tuple[set[tuple[int, int]], int | None]]] = defaultdict(list)
    for victim, _, bad in attacked["patient_poisoning"]:
        parts = set(zip(bad["action"].tolist(), bad["resource"].tolist(), strict=True))
        campaigns[victim].append((parts, recording.sessions[bad["session"][0]].known_task))

    assert len(campaigns) == ASKED["patient_poisoning"]
    for steps in campaigns.values():
        *before, (act, known_task) = steps
        assert known_task is None
        assert len(before) >= 6
        assert set().union(*(parts for parts, _ in before)) == act


def test_an_attacker_does_not_know_the_future(recording: Recording) -> None:
    """Dated resources that a bad event takes from the recording are hardly ever of a later day."""
    bad = recording.columns[recording.columns["bad"] & (recording.columns["resource"] >= 0)]
    dates = [
        (found[0], str(row["ts_ms"].astype("datetime64[ms]").astype("datetime64[D]")))
        for row in bad
        if (found := re.search(r"2026-\d\d-\d\d", recording.resources[row["resource"]][0]))
    ]

    assert len(dates) > 20
    assert sum(taken > today for taken, today in dates) < 0.1 * len(dates)
