"""The reference: "1 in n" is a count, by hand, by its laws, and on many sessions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray import blob
from astray.baseline.buffers import RECORD
from astray.baseline.layout import AGE_CLASSES, STATISTICS
from astray.baseline.rehearsal import RESTORED_ROW, STRUCK_ROW
from astray.calibrate.reference import Reference
from astray.errors import StateError
from made import DAY_US, SETTLED, START_US, ended_rows

WIDTH = len(STATISTICS)

levels = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 70.0]), min_size=WIDTH, max_size=WIDTH)


@st.composite
def sessions(draw, size=12):
    """Draw a few ended sessions of any age class."""
    rows = ended_rows(draw(st.lists(levels, max_size=size)))
    for row in rows:
        row["session"] = draw(st.integers(1, 5))
        row["age"] = draw(st.integers(0, AGE_CLASSES - 1))
        row["start_us"] = START_US + draw(st.sampled_from([0, 1, DAY_US]))
    return rows


def reference_of(rows, sessions_max=100_000):
    """Return a reference whose tables hold these sessions."""
    reference = Reference(sessions_max)
    reference.add(rows)
    reference.turn()
    return reference


def n_of(reference, *levels, **values):
    """Return the n of sessions that stand at these levels, and what of it is certified."""
    n, certified, _ = reference.rank(ended_rows(levels, **values))
    return n.tolist(), certified.tolist()


@pytest.mark.parametrize(
    ("past", "level", "n"),
    [
        pytest.param([1, 2, 3, 4], 0, 1.0, id="below all"),
        pytest.param([1, 2, 3, 4], 2, 1.0, id="as odd as the lowest would be beside it"),
        pytest.param([1, 2, 3, 4], 3, 5 / 4, id="above one of four"),
        pytest.param([1, 2, 3, 4], 4, 5 / 3, id="level with the highest"),
        pytest.param([1, 2, 3, 4], 5, 5 / 2, id="above the highest, who had been so too"),
        pytest.param([2, 2, 2, 2], 2, 1.0, id="level with everyone"),
        pytest.param([2, 2, 2, 2], 3, 5.0, id="above everyone, of whom none stood out"),
        pytest.param([1, 1, 1, 3], 3, 5 / 2, id="level with the one that stands out"),
        pytest.param([1, 1, 3, 3], 3, 5 / 3, id="level with the two that stand out"),
        pytest.param([], 5, 1.0, id="no past"),
    ],
)
def test_one_in_n_is_a_count(past, level, n):
    """The newcomer and the past sessions whose rank reaches its own, of all n + 1 of them."""
    reference = reference_of(ended_rows(past))

    assert n_of(reference, level) == ([pytest.approx(n)], [pytest.approx(n)])


def test_odd_in_two_ways_is_odder_than_any_who_were_so_in_one():
    """Twenty past sessions each lead in one statistic at most; a newcomer leads in two."""
    reference = reference_of(ended_rows([(place, 21 - place) for place in range(1, 21)]))

    n, certified = n_of(reference, (21, 21), (21, 0), (0, 0))

    # Leading in one, it is where two of the past are: 21 / (2 + 1).
    assert certified == [21.0, 7.0, 1.0]
    assert n == certified


def test_bits_are_the_rank_of_each_statistic():
    """A value that 1 in 2**b sessions reach, the newcomer among them, has b bits."""
    reference = reference_of(ended_rows([(1, 1), (2, 1), (3, 1)]))

    _, _, bits = reference.rank(ended_rows([(3, 1), (9, 2), (1, 0)]))

    assert bits[:, :3].tolist() == [[1.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def test_who_has_no_past_takes_no_room():
    """Thousands of tenants may have agents of one age class: only that one has a table."""
    nobody = Reference(100_000).size_bytes
    young, settled = (reference_of(ended_rows([1, 2, 3], age=age)) for age in (0, SETTLED))
    both = reference_of(np.concatenate([ended_rows([1, 2, 3], age=age) for age in (0, SETTLED)]))

    of_one = young.size_bytes - nobody
    assert nobody < of_one
    assert settled.size_bytes - nobody == of_one
    assert both.size_bytes - nobody == 2 * of_one


def test_an_age_class_does_not_see_another():
    """A young agent's session is not ranked among those of settled ones."""
    reference = reference_of(ended_rows([1] * 50))

    assert [n_of(reference, 5, age=age)[0] for age in range(AGE_CLASSES)] == [[1.0], [1.0], [51.0]]
    assert [reference.sessions(age) for age in range(AGE_CLASSES)] == [0, 0, 50]


def heard(reference, rows, row):
    """Let a reference hear of sessions, and enter the next window."""
    told = rows.copy()
    told["row"] = row
    reference.hear(told)
    reference.turn()


def test_who_is_confirmed_is_not_ranked_against():
    """From the next window on it is as if the session had never ended, also one that waits."""
    rows = ended_rows([1.0] * 40 + [9.0, 9.0])
    rows["session"] = np.arange(1, 43)
    reference = reference_of(rows[:41])
    reference.add(rows[41:])
    before = n_of(reference, 9.0)
    told = rows[40:].copy()
    told["row"] = STRUCK_ROW
    reference.hear(told)
    meanwhile = n_of(reference, 9.0)

    reference.turn()

    assert meanwhile == before != n_of(reference, 9.0)
    assert n_of(reference, 9.0) == n_of(reference_of(rows[:40]), 9.0)


def test_who_is_confirmed_no_more_is_ranked_against_again():
    """A verdict that is taken back restores the session, also after the state was written."""
    rows = ended_rows([1.0] * 10 + [9.0])
    rows["session"] = np.arange(1, 12)
    reference = reference_of(rows)
    heard(reference, rows[10:], STRUCK_ROW)
    reference = Reference.load(reference.dump(), 100)

    heard(reference, rows[10:], RESTORED_ROW)

    assert n_of(reference, 9.0) == n_of(reference_of(rows), 9.0)
    assert reference.sessions(SETTLED) == 11


def test_statistics_are_ranked_in_steps_of_a_64th_and_up_to_64():
    """Finer differences are ties, and so are all values from 64 on."""
    reference = reference_of(ended_rows([1.0] * 9))

    assert n_of(reference, 1 + 0.9 / 64, 1 + 1.1 / 64)[0] == [1.0, 10.0]
    assert n_of(reference_of(ended_rows([64.0] * 9)), 1e6)[0] == [1.0]


@given(sessions(), levels, st.lists(st.integers(0, WIDTH - 1)), st.integers(0, AGE_CLASSES - 1))
def test_more_is_never_less_odd(past, level, raised, age):
    """Raising any statistics lowers neither n nor what is certified of it nor any bits."""
    higher = [value + (place in raised) for place, value in enumerate(level)]
    reference = reference_of(past)

    n, certified, bits = reference.rank(ended_rows([level, higher], age=age))

    assert n[0] <= n[1]
    assert certified[0] <= certified[1]
    assert (bits[0] <= bits[1]).all()


@given(sessions(), levels, st.integers(0, AGE_CLASSES - 1))
def test_n_is_certified_up_to_the_sessions_and_one(past, level, age):
    """What has been counted lies between 1 and their number + 1; n is at most ten times that."""
    reference = reference_of(past)

    (n,), (certified,) = n_of(reference, level, age=age)

    assert 1.0 <= certified <= reference.sessions(age) + 1
    assert certified <= n <= 10 * certified


@given(sessions(), sessions(), st.randoms(), st.lists(st.integers(0, 24), max_size=3), levels)
def test_the_order_within_a_window_does_not_matter(before, during, random, cuts, level):
    """However the sessions of a window are ordered and divided, ranks and bytes are the same."""
    shuffled = during[random.sample(range(len(during)), len(during))]
    edges = sorted({0, len(during), *(cut for cut in cuts if cut < len(during))})
    straight, divided = reference_of(before), reference_of(before)

    straight.add(during)
    for first, end in pairwise(edges):
        divided.add(shuffled[first:end])

    assert straight.dump() == divided.dump()
    straight.turn()
    divided.turn()
    assert straight.dump() == divided.dump()
    assert n_of(straight, level) == n_of(divided, level)


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=40, unique=True),
    st.randoms(),
    st.integers(1, 7),
)
def test_what_waits_is_bounded_whatever_the_order(numbers, random, size):
    """More than can be kept is cut, and what remains depends on the sessions alone."""
    rows = ended_rows([number % 7 for number in numbers], session=np.array(numbers))
    shuffled = rows[random.sample(range(len(rows)), len(rows))]
    straight, divided = Reference(5), Reference(5)

    straight.add(rows)
    for first in range(0, len(rows), size):
        divided.add(shuffled[first : first + size])

    assert divided._pending_count == sum(map(len, divided._pending)) <= 10
    assert straight.dump() == divided.dump()
    straight.turn()
    assert straight.sessions(SETTLED) == min(len(rows), 5)


def test_tables_are_frozen_until_the_window_turns():
    """Sessions that end in a window are not seen by those that are ranked in it."""
    reference = reference_of(ended_rows([1] * 9))

    reference.add(ended_rows([5] * 9))

    assert n_of(reference, 5)[0] == [10.0]
    reference.turn()
    assert n_of(reference, 5)[0] == [19 / 10]


def test_tables_are_renewed_once_a_20th_is_new():
    """With a hundred sessions in the tables four new ones wait, and five are taken in."""
    reference = reference_of(ended_rows([1] * 100))

    reference.add(ended_rows([2] * 4))
    reference.turn()
    waiting = reference.sessions(SETTLED)
    reference.add(ended_rows([2], session=5))
    reference.turn()

    assert (waiting, reference.sessions(SETTLED)) == (100, 105)


def test_the_newest_sessions_are_kept_per_age():
    """An age class forgets its oldest sessions for new ones, and no other does for them."""
    reference = Reference(100)
    for level, count, age in ((1, 100, SETTLED), (1, 30, 0), (5, 60, SETTLED)):
        reference.add(ended_rows([level] * count, age=age))
        reference.turn()

    assert [reference.sessions(age) for age in range(AGE_CLASSES)] == [30, 0, 100]
    # Sixty of the hundred reach the newcomer's level: as many as came last.
    assert n_of(reference, 5)[0] == [101 / 61]


@pytest.mark.parametrize(
    ("span_us", "n"),
    [
        pytest.param(DAY_US - 1, 10.0, id="not a whole day"),
        pytest.param(DAY_US, 100.0, id="a day"),
    ],
)
def test_beyond_the_reference_lies_one_power_of_ten(span_us, n):
    """Past what was counted n goes on for a power of ten, once a whole day has been seen."""
    rows = ended_rows([1] * 9, start_us=np.linspace(START_US, START_US + span_us, 9).astype(int))

    found, certified = n_of(reference_of(rows), 5)

    assert certified == [10.0]
    assert found == [pytest.approx(n)]


def test_beyond_the_reference_n_grows_as_its_tail_falls():
    """Of the fused numbers' excess over the 20th largest, each mean one is a factor e."""
    rng = np.random.default_rng(5)
    past = ended_rows(rng.exponential(1.0, (60, WIDTH)).tolist())
    past["start_us"] = np.linspace(START_US, START_US + DAY_US, 60)
    reference = reference_of(past)
    standing = ended_rows(
        [[9.0] * many + [level / 4] for many in range(3, 6) for level in range(16)]
    )

    n, certified, bits = reference.rank(standing)
    fused = np.sqrt((bits.astype(float) ** 2).sum(axis=1))
    between = (n > certified) & (n < 10 * certified)
    steps = np.diff(fused[between])
    growth = np.diff(np.log(n[between]))[steps > 0.0] / steps[steps > 0.0]

    tail = reference._ages[SETTLED]._fused_past[-20:]
    assert between.sum() >= 2
    assert growth == pytest.approx(1 / np.mean(tail - tail[0]))
    assert certified[between].tolist() == [61.0] * between.sum()


@settings(max_examples=25)  # each example fills and ranks three references
@given(st.lists(sessions(size=6) | st.just("turn"), max_size=8), st.integers(0, 8), levels)
def test_a_dump_continues_exactly(steps, cut, level):
    """Restored anywhere, also with sessions waiting, a reference goes on as if never written."""
    live, restored = Reference(8), None
    for place, step in enumerate([*steps, "turn"]):
        if place == min(cut, len(steps)):
            restored = Reference.load(live.dump(), 8)
        for reference in filter(None, (live, restored)):
            reference.turn() if isinstance(step, str) else reference.add(step)

    assert restored.dump() == live.dump()
    for age in range(AGE_CLASSES):
        assert n_of(restored, level, age=age) == n_of(live, level, age=age)


def test_nobody_is_ranked_while_too_many_are_open():
    """Twice as many have to have ended as are open, class by class; a dump keeps who is open."""
    reference = reference_of(np.concatenate([ended_rows([1] * 6, age=0), ended_rows([1] * 6)]))

    reference.turn((0, 9, 4))
    restored = Reference.load(reference.dump(), 8)

    assert n_of(reference, 5) == n_of(restored, 5) == ([1.0], [1.0])
    assert n_of(reference, 5, age=0)[0] == [7.0]
    reference.turn((4, 9, 3))
    assert n_of(reference, 5)[0] == [7.0]
    assert n_of(reference, 5, age=0)[0] == [1.0]


def test_a_dump_is_cut_to_a_smaller_reference():
    """An operator who lowers the number of past sessions keeps the newest."""
    reference = reference_of(ended_rows([1] * 100))
    reference.add(ended_rows([5] * 100))
    reference.turn()

    smaller = Reference.load(reference.dump(), 100)

    assert smaller.sessions(SETTLED) == 100
    assert n_of(smaller, 5)[0] == [1.0]


@given(st.data())
def test_damaged_bytes_are_refused(data):
    """Wherever a byte is changed or the end is missing, a sentence says so."""
    good = reference_of(ended_rows([1, 2, 3])).dump()
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[at] ^= data.draw(st.integers(1, 255))

    for bad in (bytes(changed), good[:at]):
        with pytest.raises(StateError, match=r"^the reference state (is|has) "):
            Reference.load(bad, 100)


def test_the_size_of_the_header_is_checked_too():
    """A byte of the frame that is not in the body is as much a damage as any other."""
    good = bytearray(reference_of(ended_rows([1])).dump())
    good[16] ^= 1

    with pytest.raises(StateError, match=r"^the reference state is damaged: its checksum"):
        Reference.load(bytes(good), 100)


def test_another_version_is_refused():
    """A state of a later astray is named as such."""
    newer = bytearray(reference_of(ended_rows([1])).dump())
    newer[8] += 1

    said = (
        rf"schema version {blob.SCHEMA_VERSION + 1}; this astray reads \d to {blob.SCHEMA_VERSION}$"
    )
    with pytest.raises(StateError, match=said):
        Reference.load(bytes(newer), 100)


def test_a_foreign_state_is_refused():
    """The state of something else is named as such."""
    foreign = blob.pack("shard", {}, {})

    with pytest.raises(StateError, match=r"^expected reference state, found shard state$"):
        Reference.load(foreign, 100)


_RARELY = np.linspace(0.0, 0.02, WIDTH - 18)
"""What is 0 in most sessions, or in all: evidence that has to be configured, and such."""


def _exchangeable(rng, count):
    """Return normal sessions: each statistic with a distribution of its own, some dependent."""
    common = rng.normal(size=count)
    columns = [
        rng.exponential(2.0, count),
        np.exp(0.7 * common + rng.normal(size=count)),
        np.exp(0.7 * common + 0.5 * rng.normal(size=count)),
        rng.poisson(0.3, count),
        rng.geometric(0.5, count),
        np.abs(rng.standard_cauchy(count)),
        np.maximum(common, 0.0),
        np.zeros(count),
        np.full(count, 3.0),
        rng.binomial(1, 0.01, count) * 20.0,
        rng.pareto(1.5, count),
        rng.uniform(0, 1, count),
        rng.poisson(6.0, count),
        rng.lognormal(1.0, 1.0, count),
        np.maximum(rng.normal(size=count) - common, 0.0),
        rng.poisson(0.02, count) * 7.0,
        rng.choice([0.0, 5.0], count),
        rng.exponential(0.5, count),
        *(rng.binomial(1, share, count) * rng.exponential(9.0, count) for share in _RARELY),
    ]
    return np.column_stack(columns)


def test_false_rates_are_what_they_are_called():
    """Of 20,000 normal sessions at most 1 in n reach n, and not many fewer do."""
    rng, count, window = np.random.default_rng(20_261_122), 20_000, 100
    rows = np.zeros(count, RECORD)
    rows["age"], rows["session"] = SETTLED, np.arange(count)
    rows["start_us"] = START_US + np.arange(count) * 60_000_000
    rows["statistic"] = _exchangeable(rng, count)
    reference, ranked, certified = Reference(50_000), [], []
    for first in range(0, count, window):
        part = rows[first : first + window]
        n, counted, _ = reference.rank(part)
        ranked.append(n)
        certified.append(counted)
        reference.add(part)
        reference.turn()

    for nominal in (0.05, 0.01, 0.001):
        false = int((np.concatenate(certified) >= 1 / nominal).sum())
        expected = nominal * count
        noise = 4 * np.sqrt(expected)
        assert expected - noise < false < expected + noise, nominal
    assert int((np.concatenate(ranked) >= 20).sum()) == int((np.concatenate(certified) >= 20).sum())
    odd = ended_rows([[60.0] * WIDTH])
    assert reference.rank(odd)[1].tolist() == [reference.sessions(SETTLED) + 1.0]
    assert reference.rank(odd)[0].tolist() == [10.0 * (reference.sessions(SETTLED) + 1.0)]
