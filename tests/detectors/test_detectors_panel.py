"""Detectors at work: they score before they learn, in any order, within bounds, and are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.baseline.layout import TOTALS
from astray.baseline.rehearsal import FIRST_ROW
from astray.config import load_config
from astray.detectors.features import features_of
from astray.detectors.levels import MISSING, level_of
from astray.detectors.panel import LESSONS_MAX, OPEN_MAX, Panel, moved
from astray.errors import DetectorError, StateError
from made import HOUR_US, START_US, ended_rows
from offered import offering

BITS = 6.0
ECHO = {"name": "echo", "model": "echo", "warmup": 1}
UNHEARD = {"name": "unheard", "model": "unheard", "warmup": 1}
HST = {
    "name": "hst",
    "model": "river.anomaly.HalfSpaceTrees",
    "options": {"n_trees": 3, "height": 3, "window_size": 10},
    "warmup": 1,
}
BYTES = TOTALS.index("bytes")


def panel_of(*tables, bits=BITS):
    """Return a panel of these detectors."""
    return Panel(load_config(overrides={"detector": list(tables)}).detector, bits)


def rows_of(*sizes, tenant=0, group=0, row=-1, first=1):
    """Return sessions that moved so many bytes, each with a key of its own."""
    rows = ended_rows([0.0] * len(sizes), tenant=tenant, group=group, row=row, start_us=START_US)
    rows["session"] = np.arange(first, first + len(sizes))
    rows["total"][:, BYTES] = sizes
    return rows


def taught(panel, rows, hour=1, n=1.0):
    """Have a panel learn sessions."""
    panel.note(rows, np.full(len(rows), n))
    panel.turn(START_US + hour * HOUR_US)
    return panel


def seen(size):
    """Return what a detector sees of so many bytes."""
    ((session,),) = (features_of(rows_of(size), ["bytes"]),)
    return session["bytes"]


def learnt(panel, place=0):
    """Return what a detector's models have learnt, by cohort."""
    cohorts = panel._columns[place].cohorts
    return {cohort: list(cohorts[cohort].model.learnt) for cohort in sorted(cohorts)}


def test_without_detectors_nothing_is_said_or_kept():
    """No columns, no state."""
    panel = taught(panel_of(), rows_of(5))

    assert panel.detect(rows_of(5, 6)).shape == (2, 0)
    assert panel.dump() == ({}, {})


def test_a_session_is_scored_from_what_was_learnt_before_its_window():
    """What ends in a window is learnt when it turns; before that nobody has an opinion."""
    panel = panel_of(UNHEARD)
    panel.note(rows_of(50), np.ones(1))

    during = panel.detect(rows_of(50, 5000, first=7))
    panel.turn(START_US + HOUR_US)
    after = panel.detect(rows_of(50, 5000, first=9))

    assert during.tolist() == [[MISSING], [MISSING]]
    assert after.tolist() == [[level_of(0.0)], [level_of(seen(5000) - seen(50))]]


def test_a_detector_is_listened_to_after_its_warm_up():
    """With two sessions of three it has no opinion."""
    panel = taught(panel_of({**ECHO, "warmup": 3}), rows_of(1, 2))

    before = panel.detect(rows_of(5))
    taught(panel, rows_of(3))

    assert before.tolist() == [[MISSING]]
    assert panel.detect(rows_of(5)).tolist() == [[level_of(seen(5))]]


def test_what_is_suspicious_is_not_learnt():
    """1 in 64 sessions is as odd: that is where the gate of learning begins."""
    panel = panel_of(ECHO)
    panel.note(rows_of(1, 2, 3), np.array([63.9, 64.0, 1000.0]))

    panel.turn(START_US + HOUR_US)

    assert learnt(panel) == {(0, 0): [pytest.approx(seen(1))]}


def test_a_group_has_a_model_of_its_own_where_that_is_asked_for():
    """And a tenant always has."""
    panel = panel_of({**ECHO, "per": "group"}, {**ECHO, "name": "all"})

    for tenant, group, size in ((1, 8, 10), (1, 9, 20), (2, 8, 30)):
        panel.note(rows_of(size, tenant=tenant, group=group), np.ones(1))
    panel.turn(START_US + HOUR_US)

    by_group = {(1, 8): 10, (1, 9): 20, (2, 8): 30}
    assert learnt(panel) == {cohort: [seen(size)] for cohort, size in by_group.items()}
    assert sorted(map(len, learnt(panel, 1).values())) == [1, 2]
    assert set(learnt(panel, 1)) == {(1, 0), (2, 0)}


def test_a_session_keeps_its_highest_level_while_it_runs():
    """What it moved does not shrink, but an opinion may; its end is not forgotten before it."""
    panel = taught(panel_of({**ECHO, "options": {"factor": -1.0}}), rows_of(0))
    low, high = level_of(-seen(1000)), level_of(-seen(10))

    first = panel.detect(rows_of(10, row=3))
    second = panel.detect(rows_of(1000, row=4))
    end = panel.detect(rows_of(1000))
    anew = panel.detect(rows_of(1000, row=5))

    assert [found.tolist() for found in (first, second, end, anew)] == [[[high]]] * 3 + [[[low]]]


def test_another_session_of_the_same_name_begins_anew():
    """Unnamed sessions share a key; when they began tells them apart."""
    panel = taught(panel_of({**ECHO, "options": {"factor": -1.0}}), rows_of(0))
    later = rows_of(1000, row=4)
    later["start_us"] += HOUR_US

    panel.detect(rows_of(10, row=3))

    assert panel.detect(later).tolist() == [[level_of(-seen(1000))]]


def test_a_rehearsed_attack_is_scored_and_leaves_no_trace():
    """It bears the name of the session it was made of."""
    panel = taught(panel_of(ECHO), rows_of(0))
    panel.detect(rows_of(10, row=3))
    before = panel.dump()[1]["most"].tolist()

    attack = panel.detect(rows_of(10**9, row=FIRST_ROW - 1))

    assert attack.tolist() == [[level_of(seen(10**9))]]
    assert panel.dump()[1]["most"].tolist() == before


def test_asking_leaves_no_trace():
    """A session that is only looked at is not one that has got there."""
    panel = taught(panel_of(ECHO), rows_of(0))
    panel.detect(rows_of(10, row=3))

    asked = panel.detect(rows_of(1000, row=4), keep=False)

    assert asked.tolist() == [[level_of(seen(1000))]]
    assert panel.detect(rows_of(10, row=5)).tolist() == [[level_of(seen(10))]]


def test_no_opinion_is_none():
    """A model that returns no number is as good as one that has not begun."""
    panel = taught(panel_of({"name": "lost", "model": "lost", "warmup": 1}), rows_of(1))

    assert panel.detect(rows_of(1, row=3)).tolist() == [[MISSING]]


def test_the_longest_silent_cohorts_go():
    """There are no more models than the cap; who taught last stays."""
    panel = panel_of({**ECHO, "per": "group", "cohorts_max": 2})

    for hour, group in enumerate((7, 8, 7, 9), 1):
        taught(panel, rows_of(5, group=group), hour)

    assert set(learnt(panel)) == {(0, 7), (0, 9)}


def test_a_window_teaches_no_more_than_its_share():
    """However many sessions end in it, and in whichever portions."""
    count = 3 * LESSONS_MAX
    whole, portions = panel_of(ECHO), panel_of(ECHO)
    rows = rows_of(*range(count))

    taught(whole, rows)
    for part in np.array_split(rows, 40):
        portions.note(part, np.ones(len(part)))
    portions.turn(START_US + HOUR_US)

    assert len(learnt(whole)[0, 0]) == LESSONS_MAX
    assert learnt(whole) == learnt(portions)


def test_open_sessions_that_are_remembered_are_bounded():
    """The oldest are forgotten first, whoever came last."""
    panel = taught(panel_of(ECHO), rows_of(0))
    rows = rows_of(*[1] * (OPEN_MAX + 1), row=3)
    rows["start_us"] = START_US + np.arange(len(rows))[::-1]

    panel.detect(rows)

    assert len(panel._open) <= OPEN_MAX
    assert min(start_us for start_us, _ in panel._open.values()) >= START_US + OPEN_MAX // 4


windows = st.lists(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2)), max_size=6), max_size=4
)


def _fed(panel, windows, order):
    """Feed windows of sessions (bytes and group), each in some order; return all levels."""
    told = {}
    for hour, sessions in enumerate(windows):
        for place in order(list(range(len(sessions)))):
            size, group = sessions[place]
            rows = rows_of(size, group=group, first=1000 * hour + place)
            told[hour, place] = panel.detect(rows).tolist()
            panel.note(rows, np.ones(1))
        panel.turn(START_US + (hour + 1) * HOUR_US)
    return told


@settings(max_examples=30)
@given(windows, st.randoms())
def test_the_order_of_sessions_in_a_window_does_not_matter(windows, random):
    """Neither for what is said nor for what is learnt, to the byte."""
    tables = [UNHEARD, {**HST, "per": "group"}]
    one, other = panel_of(*tables), panel_of(*tables)

    told = _fed(one, windows, lambda places: places)
    shuffled = _fed(other, windows, lambda places: random.sample(places, len(places)))

    assert told == shuffled
    assert _bytes(one) == _bytes(other)


def _bytes(panel):
    meta, arrays = panel.dump()
    return meta, {name: array.tobytes() for name, array in arrays.items()}


def _carried(panel, *tables):
    """Return a panel that goes on from what another keeps."""
    restored = panel_of(*tables)
    restored.load(*panel.dump())
    return restored


@settings(max_examples=30)
@given(windows, windows)
def test_a_restored_panel_goes_on_exactly(before, after):
    """With its models, what they are about to learn, and the open sessions' levels."""
    tables = [UNHEARD, {**HST, "per": "group"}]
    panel = panel_of(*tables)
    _fed(panel, before, lambda places: places)
    panel.note(rows_of(77, first=500), np.ones(1))
    panel.detect(rows_of(10**5, row=3, first=900))

    restored = _carried(panel, *tables)

    assert _bytes(restored) == _bytes(panel)
    same = [some.detect(rows_of(1, row=4, first=900)).tolist() for some in (panel, restored)]
    assert same[0] == same[1]
    whole = [_fed(some, after, lambda places: places) for some in (panel, restored)]
    assert whole[0] == whole[1]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.lists(st.booleans(), max_size=8))
def test_what_is_said_of_a_session_never_falls_while_it_runs(sizes, turns):
    """Whatever is learnt meanwhile."""
    panel = taught(panel_of(UNHEARD), rows_of(100, 200))
    said = []

    for place, size in enumerate(sizes):
        said.append(panel.detect(rows_of(size, row=place)).tolist())
        if place < len(turns) and turns[place]:
            taught(panel, rows_of(size, first=50), place + 2)

    assert said == sorted(said)


def test_a_detector_that_has_changed_begins_anew():
    """So does one that is new; those that are as they were go on, those that are gone are not."""
    before = taught(panel_of(ECHO, UNHEARD), rows_of(50, 60))
    before.detect(rows_of(10**5, row=3, first=9))

    after = _carried(before, {**ECHO, "options": {"factor": 2.0}}, HST, UNHEARD)

    (said,) = after.detect(rows_of(1, row=4, first=9)).tolist()
    assert said[:2] == [MISSING, MISSING]
    assert said[2] == before.detect(rows_of(1, row=4, first=9)).tolist()[0][1]


def test_cohorts_may_be_more_or_fewer_without_beginning_anew():
    """The cap is no part of what a score depends on."""
    before = taught(panel_of(ECHO), rows_of(50))

    after = _carried(before, {**ECHO, "cohorts_max": 2})

    assert learnt(after) == learnt(before)


def test_what_another_version_has_learnt_is_refused(tmp_path):
    """With what to do about it; a detector by another name begins anew."""
    before = taught(panel_of(ECHO), rows_of(50))
    meta, arrays = before.dump()
    newer = tmp_path / "newer"
    newer.mkdir()

    with offering(newer, "2.0"), pytest.raises(StateError) as caught:
        panel_of(ECHO).load(meta, arrays)

    assert str(caught.value) == (
        "detector echo: what it has learnt is of offered 1.0, and here is offered 2.0: install "
        "that version again, or give the detector another name, and it begins anew"
    )
    panel_of({**ECHO, "name": "echo2"}).load(meta, arrays)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x80\x04", "damaged"),
        (b"cos\nsystem\n(S'true'\ntR.", "it asks for os.system"),
        (b"\x80\x04cofferred\nos.system\n.", "it asks for offerred.os.system"),
        (b"\x80\x04coffered\nPath\n.", "it asks for offered.Path, which is not its own"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "it asks for builtins.eval"),
    ],
    ids=["cut off", "a command", "what a module holds", "what a module imports", "a function"],
)
def test_damaged_bytes_are_refused_and_run_nothing(data, why):
    """Whatever they ask for besides models and numbers is not looked for."""
    meta, arrays = taught(panel_of(ECHO), rows_of(50)).dump()

    with pytest.raises(StateError, match=r"detector echo: what it had learnt is damaged") as caught:
        panel_of(ECHO).load(meta, arrays | {"model0": np.frombuffer(data, np.uint8)})

    assert why in str(caught.value)


def test_what_cannot_be_kept_is_told():
    """By name: its author can mend it."""
    panel = taught(panel_of({"name": "unkept", "model": "unkept", "warmup": 1}), rows_of(1))

    with pytest.raises(StateError, match="detector unkept: what it has learnt cannot be kept"):
        panel.dump()


def test_columns_move_to_where_they_are_now():
    """By their names; what was not there is missing."""
    values = np.array([[1, 2], [3, 4]])

    assert moved(values, ["a", "b"], ["b", "c", "a"], -1).tolist() == [[2, -1, 1], [4, -1, 3]]


def test_a_detector_that_breaks_is_named():
    """It has made a model and tried it once, and breaks on what it is for."""
    panel = panel_of({**HST, "options": {**HST["options"], "n_trees": 0}})
    taught(panel, rows_of(*range(40)))

    with pytest.raises(DetectorError, match=r"^detector hst: ZeroDivisionError: ") as caught:
        panel.detect(rows_of(5, first=100))

    assert caught.value.lasting
