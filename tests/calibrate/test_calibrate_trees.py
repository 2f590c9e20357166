"""Trees: they tell what differs, never the other way round, and account for every bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.baseline.fusion import WEIGHT
from astray.baseline.layout import STATISTICS
from astray.baseline.rehearsal import EXFILTRATION, INJECTED, KINDS
from astray.calibrate.fusing import (
    FOREIGN_MIN,
    REAL_MIN,
    Experts,
    Fusion,
    is_time,
    teach,
)
from astray.calibrate.trees import (
    BINS,
    NODES,
    TREES,
    binned,
    explain,
    grown,
    masks_of,
    odds_in,
    sieve,
)
from astray.compiled import compiled

WIDTH = len(STATISTICS)
NOVEL, LARGE = 1, 8


def real_bits(count, seed=1):
    """Return the bits of ordinary sessions."""
    rng = np.random.default_rng(seed)
    return rng.exponential(1.4, (count, WIDTH)).astype(np.float32)


def attack_bits(count, statistic, seed=2):
    """Return the bits of sessions that stand out in one statistic."""
    bits = real_bits(count, seed)
    bits[:, statistic] += 4.0
    return bits


@pytest.fixture(scope="module")
def trees():
    """Teach trees to tell novelty from the ordinary."""
    both = np.concatenate((attack_bits(200, NOVEL), real_bits(600)))
    return grown(binned(both), 200)


@pytest.fixture(scope="module")
def experts():
    """Teach experts two kinds of attacks."""
    attacks = np.concatenate((attack_bits(100, NOVEL), attack_bits(100, LARGE)))
    kinds = np.repeat([INJECTED, EXFILTRATION], 100).astype(np.int32)
    folds = (np.arange(800) % 2).astype(np.uint8)
    return teach(real_bits(800), folds, attacks, kinds, 800)


def odds(trees, bits):
    """Return the log odds of sessions, tree by tree from the root."""
    return [
        sum(walked(tree, values, row) for tree, values in zip(*trees, strict=True))
        for row in binned(bits)
    ]


def walked(splits, values, session):
    """Return the value of the leaf of a tree that a session comes to."""
    node = 0
    while node < NODES:
        statistic, first = divmod(int(splits[node]), BINS)
        is_right = splits[node] >= 0 and session[statistic] >= first
        node = 2 * node + 2 if is_right else 2 * node + 1
    return values[node]


def fused_of(bits, folds, experts):
    """Return the fused numbers of sessions."""
    levels = np.repeat(np.arange(len(bits), dtype=np.uint16)[:, None], WIDTH, axis=1)
    return Fusion(experts, WIDTH).of(levels, np.ascontiguousarray(bits.T), folds)


def shares_of(bits, fold, experts):
    """Return the shares in the number of one session."""
    return Fusion(experts, len(bits)).shares(bits, fold)


@compiled
def _read_off(sessions, masks, leaves, found, by_tree, odds):
    for row in range(len(sessions)):
        sieve(sessions[row], masks, found)
        odds[row] = odds_in(by_tree, leaves)


def test_a_tree_that_is_read_off_says_what_one_that_is_walked_does(trees):
    """For sessions of all sorts the leaf is the same, so the log odds are."""
    splits, values = trees
    sessions = np.concatenate((real_bits(300, 11), attack_bits(300, NOVEL, 12)))
    leaves = np.ascontiguousarray(values[:, NODES:])
    by_tree, found = np.zeros(TREES, np.uint8), np.zeros(600)
    masks = masks_of(splits, WIDTH)

    _read_off(binned(sessions), masks, leaves, by_tree.view(np.uint64), by_tree, found)

    assert found.tolist() == pytest.approx(odds(trees, sessions), abs=1e-12)


def test_trees_tell_what_differs(trees):
    """Sessions they have not seen are told apart by the statistic that makes the difference."""
    usual, odd = odds(trees, real_bits(100, 7)), odds(trees, attack_bits(100, NOVEL, 8))

    assert np.mean(np.array(usual) < 0) > 0.85
    assert np.mean(np.array(odd) > 0) > 0.85
    assert trees[0].shape[0] == TREES


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 20), min_size=WIDTH, max_size=WIDTH),
    st.integers(0, WIDTH - 1),
    st.floats(0, 20),
)
def test_more_odd_is_never_less_like_an_attack(trees, experts, bits, statistic, more):
    """Raising any statistic lowers neither a kind's odds nor the fused number."""
    pair = np.array([bits, bits], np.float32)
    pair[1, statistic] += more

    low, high = odds(trees, pair)
    fused = fused_of(pair, np.zeros(2, np.uint8), experts)

    assert low <= high
    assert fused[0] <= fused[1]


def test_what_statistics_add_is_all_there_is(trees):
    """Along its paths each statistic adds something; together that is the log odds."""
    for row, found in zip(binned(attack_bits(20, NOVEL)), odds(trees, attack_bits(20, NOVEL)),
                          strict=True):  # fmt: skip
        shares = np.zeros(WIDTH)
        explain(row, *trees, shares)

        assert shares.sum() == pytest.approx(found)
        assert shares.argmax() == NOVEL


def test_the_same_sessions_make_the_same_trees(trees):
    """Nothing is drawn: trees are a function of the sessions."""
    both = np.concatenate((attack_bits(200, NOVEL), real_bits(600)))

    again = grown(binned(both), 200)

    assert all(np.array_equal(*pair) for pair in zip(trees, again, strict=True))


def test_bits_beyond_the_last_bin_are_as_many():
    """What cannot be told apart is a tie, and no error."""
    assert binned(np.array([[0.0, 0.49, 0.5, 15.5, 1e9]], np.float32)).tolist() == [
        [0, 0, 1, BINS - 1, BINS - 1]
    ]


def test_without_experts_the_number_is_the_norm():
    """Before there is enough to learn from, bits are fused as they are."""
    bits = real_bits(5)

    fused = fused_of(bits, np.zeros(5, np.uint8), Experts.none())
    shares, likeness = shares_of(bits[0], 0, Experts.none())

    weighed = np.square(bits.astype(float)) * WEIGHT
    assert fused == pytest.approx(np.sqrt(weighed.sum(axis=1)))
    assert shares == pytest.approx(weighed[0] / weighed[0].sum(), rel=1e-5)
    assert likeness.sum() == 0.0


@pytest.mark.parametrize(
    ("real", "attacks", "taught"),
    [
        pytest.param(2 * REAL_MIN, FOREIGN_MIN, True, id="just enough"),
        pytest.param(2 * REAL_MIN - 1, FOREIGN_MIN, False, id="one real session too few"),
        pytest.param(2 * REAL_MIN, FOREIGN_MIN - 1, False, id="one attack too few"),
    ],
)
def test_experts_need_enough_of_both(real, attacks, taught):
    """Too few real sessions in a half, or too few attacks of every kind: no experts."""
    folds = (np.arange(real) % 2).astype(np.uint8)
    kinds = np.zeros(attacks, np.int32)

    found = teach(real_bits(real), folds, attack_bits(attacks, NOVEL), kinds, real)

    assert found.are_taught is taught


def test_experts_say_what_a_session_is_like(experts):
    """Each kind is recognised by what it does; shares add up to 1 and name the statistic."""
    for kind, statistic in ((INJECTED, NOVEL), (EXFILTRATION, LARGE)):
        bits = np.full(WIDTH, 0.5, np.float32)
        bits[statistic] = 9.0

        shares, likeness = shares_of(bits, 1, experts)

        assert likeness.argmax() == kind
        assert likeness.sum() == pytest.approx(1.0)
        assert shares.argmax() == statistic
        assert shares.sum() == pytest.approx(1.0)
        assert (shares >= 0).all()
    assert len(likeness) == len(KINDS)


def test_a_session_is_judged_by_the_half_that_does_not_know_it(experts):
    """The two halves have been taught by different sessions."""
    bits = attack_bits(50, NOVEL, 9)

    both = np.concatenate((bits, real_bits(50)))
    first, second = (fused_of(bits, np.full(50, fold, np.uint8), experts) for fold in (0, 1))

    assert not np.array_equal(first, second)
    assert np.abs(first - second).max() < np.ptp(fused_of(both, np.zeros(100, np.uint8), experts))


def test_experts_are_taught_anew_when_there_is_much_more():
    """Half as many again, of many twice as many; first what both halves need, 50,000 at most."""
    at = {before: Experts.none() for before in (0, 400, 1000, 4000, 100_000)}
    for before, experts in at.items():
        experts.taught_at[0] = before

    least = {
        before: next(more for more in range(200_000) if is_time(before + more, experts))
        for before, experts in at.items()
    }

    assert least == {0: 2 * REAL_MIN, 400: 200, 1000: 500, 4000: 4000, 100_000: 50_000}
