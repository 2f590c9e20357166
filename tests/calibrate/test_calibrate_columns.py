"""Detectors' columns in the reference: ranked like statistics, and honest while they are new."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.layout import STATISTICS
from astray.baseline.rehearsal import RESTORED_ROW, STRUCK_ROW
from astray.calibrate.ended import ENDED
from astray.calibrate.reference import Reference
from astray.detectors.levels import MISSING
from made import SETTLED, ended_rows

WIDTH = len(STATISTICS)


def levels_of(*rows):
    """Return what detectors say of sessions; None: nothing."""
    return np.array([[MISSING if x is None else x for x in row] for row in rows], np.uint16)


def reference_of(detected, columns=("a",), statistics=0.0):
    """Return a reference with these sessions in its tables."""
    reference = Reference(1000, columns)
    reference.add(ended_rows([statistics] * len(detected)), levels_of(*detected))
    reference.turn()
    return reference


def n_of(reference, *detected):
    """Return n of sessions that are odd to detectors alone."""
    return reference.rank(ended_rows([0.0] * len(detected)), levels_of(*detected))[0].tolist()


def test_a_column_is_ranked_like_a_statistic():
    """Two of nine past sessions reach it; and its bits are the last.

    The past are ranked with whom they would have without the newcomer: a third is its equal.
    """
    reference = reference_of([[level] for level in range(9)])

    n, counted, bits = reference.rank(ended_rows([0.0]), levels_of([7]))

    assert n.tolist() == counted.tolist() == [pytest.approx(10 / 4)]
    assert bits[0, :WIDTH].tolist() == [0.0] * WIDTH
    assert bits[0, WIDTH] == pytest.approx(np.log2(10 / 3))
    assert n_of(reference, [4000]) == [5.0]


def test_without_an_opinion_a_session_has_no_bits():
    """It is ranked by its statistics, as if there were no detector."""
    reference = reference_of([[level] for level in range(9)])

    n, _, bits = reference.rank(ended_rows([0.0]), levels_of([None]))

    assert (n.tolist(), bits.any()) == ([1.0], False)


def test_a_column_says_nothing_until_four_in_five_sessions_have_it():
    """A detector that wakes up would otherwise find all of the past tame, and the present odd."""
    silent = reference_of([[7]] * 7 + [[None]] * 2)
    heard = reference_of([[7]] * 8 + [[None]] * 2)

    assert n_of(silent, [4000]) == [1.0]
    # Ten are past, eight known: the newcomer is the ninth of those that are like it.
    assert n_of(heard, [4000], [None]) == [pytest.approx(9.0), 1.0]


@pytest.mark.parametrize(
    ("known", "detected", "share"),
    [
        pytest.param(8, 7, 9 / 11, id="a column that counts, and says something"),
        pytest.param(8, None, 1.0, id="it says nothing of this session"),
        pytest.param(7, 7, 1.0, id="it does not count yet"),
    ],
)
def test_a_promise_is_smaller_only_where_a_new_detector_had_a_part_in_it(known, detected, share):
    """Whose score comes from statistics alone is ranked among all of the past: one is its equal."""
    reference = Reference(1000, ("a",))
    levels = levels_of(*([7] if place < known else [None] for place in range(10)))
    reference.add(ended_rows([float(level) for level in range(10)]), levels)
    reference.turn()

    _, counted, _ = reference.rank(ended_rows([20.0]), levels_of([detected]))

    assert counted.tolist() == [pytest.approx(11 / 2 * share)]


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 60))
def test_no_rank_promises_more_than_sessions_like_it_can_tell(known, more, level):
    """However many of the past are missing, n is at most that of the known ones alone."""
    draws = np.random.default_rng(known * 1000 + more)
    past = draws.integers(0, 50, known)
    reference = reference_of([[int(x)] for x in past] + [[None]] * (more // 4))

    (n,) = n_of(reference, [level])

    reaching = int((past >= level).sum())
    assert 1.0 <= n <= max((known + 1.0) / (reaching + 1.0), 1.0) + 1e-9


def test_as_many_as_promised_are_false_while_a_detector_is_new():
    """Sessions of one kind, a third of the way in a detector begins: 1 in 20 reaches 1 in 20."""
    draws = np.random.default_rng(11)
    reference, false, told = Reference(4000, ["a"]), 0, 0
    for window in range(120):
        rows = ended_rows(draws.exponential(2.0, 40).astype(np.float32).tolist())
        rows["session"] = draws.integers(1, 2**60, 40)
        detected = draws.integers(0, 4000, (40, 1)).astype(np.uint16)
        detected = detected if window > 30 else np.full((40, 1), MISSING, np.uint16)
        n, _, _ = reference.rank(rows, detected)
        if window > 30:
            false, told = false + int((n >= 20).sum()), told + len(n)
        reference.add(rows, detected)
        reference.turn()

    assert false / told < 0.06
    assert false / told > 0.02


def test_a_dump_without_detectors_knows_of_none():
    """Its sessions have the columns they have always had."""
    plain = reference_of([[]] * 3, columns=())

    restored = Reference.load(plain.dump(), 1000)

    assert plain._ages[SETTLED].past.dtype == ENDED
    assert b"columns" not in plain.dump()
    assert restored.dump() == plain.dump()


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 99), st.none() | st.integers(0, 99)), max_size=9)
)
def test_a_reference_comes_back_with_its_columns(detected):
    """The same bytes, and the same ranks."""
    reference = reference_of(detected, columns=("a", "b"), statistics=2.0)
    reference.add(ended_rows([1.0]), levels_of([3, None]))

    restored = Reference.load(reference.dump(), 1000, ("a", "b"))

    assert restored.dump() == reference.dump()
    assert n_of(restored, [50, 50]) == n_of(reference, [50, 50])


def test_other_detectors_find_their_own_columns_and_begin_the_rest():
    """What waits moves as well; what the sessions themselves were is kept."""
    reference = reference_of([[level, 0] for level in range(9)], columns=("a", "b"))
    reference.add(ended_rows([0.0]), levels_of([3000, 1]))

    moved = Reference.load(reference.dump(), 1000, ("new", "a"))
    none = Reference.load(reference.dump(), 1000)

    assert n_of(moved, [4000, None]) == [1.0]
    assert n_of(moved, [None, 4000]) == [5.0]
    assert moved._pending[0]["statistic"][0, WIDTH:].tolist() == [MISSING, 3000]
    assert none._ages[SETTLED].past.dtype == none._pending[0].dtype == ENDED
    assert moved.sessions(SETTLED) == none.sessions(SETTLED) == 9


def test_who_is_struck_off_comes_back_with_the_columns_there_are_then():
    """A verdict that is taken back after a detector has gone, or another has come, still counts."""
    reference = reference_of([[level, 0] for level in range(9)], columns=("a", "b"))
    told = ended_rows([0.0] * 9)[5:]
    told["row"] = STRUCK_ROW
    reference.hear(told)
    reference.turn()
    struck = reference.sessions(SETTLED)
    never = reference_of([[None, level] for level in range(9)], columns=("new", "a"))

    moved = Reference.load(reference.dump(), 1000, ("new", "a"))
    told["row"] = RESTORED_ROW
    moved.hear(told)
    moved.turn()

    assert (struck, moved.sessions(SETTLED)) == (5, 9)
    assert n_of(moved, [None, 6]) == n_of(never, [None, 6]) != n_of(never, [None, 4000])


def test_experts_are_taught_anew_when_columns_change():
    """They know columns by their places."""
    reference = Reference(1000, ("a",))
    draws = np.random.default_rng(3)
    rows = ended_rows([[float(x)] for x in draws.exponential(1.0, 400)])
    rows["session"] = draws.integers(1, 2**60, 400)
    rows["start_us"] = draws.integers(0, 2**50, 400)  # which half of the past a session is in
    rows["row"][:100] = -2  # rehearsed attacks of the first kind
    rows["statistic"][:100] += 5.0
    reference.add(rows, draws.integers(0, 4000, (400, 1)).astype(np.uint16))
    reference.turn()

    moved = Reference.load(reference.dump(), 1000)

    assert reference._ages[SETTLED].fusion.experts.are_taught
    assert moved._ages[SETTLED].fusion.experts.are_taught
    assert moved._ages[SETTLED].fusion.experts.splits.max() < WIDTH * 32
    shares, _ = moved.explain(rows[0], moved.rank(rows[:1])[2][0])
    assert shares.shape == (WIDTH,)
