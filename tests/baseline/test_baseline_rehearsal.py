"""Rehearsals: attacks of every kind are played, and leave no trace."""

import numpy as np
import pytest

from astray.baseline.buffers import RECENT_DONORS_USED
from astray.baseline.layout import BYTES, CALLEES, DEPTH, EVENTS, NOVELTY_CONTEXT, STATISTICS
from astray.baseline.rehearsal import (
    BURST,
    DELEGATION,
    ENUMERATION,
    EXFILTRATION,
    FIRST_ROW,
    FOREIGN,
    INJECTED,
    KINDS,
    NEW,
    STOLEN,
)
from astray.events import Event
from core import feed, new_shard, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_START_US = NOW_US - 1000 * _HOUR_US - NOW_US % _HOUR_US
_CONFIG = small_config(reference={"rehearsals": 4})
_NEWS = STATISTICS.index("new_items")


def fleet(agents=4, days=12, tenants=("",), *, delegating=True):
    """Return sessions of agents that each do things of their own, in one group per tenant."""
    return [
        Event(
            ts_us=_START_US + (24 * day + number) * _HOUR_US + step * 1_000_000,
            tenant=tenant,
            agent=f"{tenant}-agent-{number}",
            group=f"{tenant}-group",
            session=f"{tenant}-{number}-{day}",
            action=f"{tenant}-{number}-do-{step}",
            resources=(f"{tenant}-{number}-thing-{step}",),
            source=f"{tenant}-{number}-here",
            target_agent=f"{tenant}-helper" if step == 2 and delegating else "",
            bytes=1000,
            session_end=step == 3,
        )
        for day in range(days)
        for number in range(agents)
        for tenant in tenants
        for step in range(4)
    ]


def rows_of(records):
    """Return all that was reported."""
    return np.concatenate([some.rows for some in records])


@pytest.fixture(scope="module")
def played():
    """Play attacks on a fleet; return the rows of its last two thirds, by kind."""
    rows = rows_of(feed(new_shard(_CONFIG), fleet()))
    late = rows[rows["start_us"] > _START_US + 4 * 24 * _HOUR_US]
    return {kind: late[late["row"] == FIRST_ROW - kind] for kind in range(-1, len(KINDS))}


def test_every_kind_is_played(played):
    """There are some of each, on sessions of every age class that there is."""
    assert all(len(played[kind]) > 5 for kind in played)


@pytest.mark.parametrize(
    ("kind", "statistic"),
    [
        (INJECTED, "novelty_sum"),
        (STOLEN, "novelty_source"),
        (STOLEN, "impersonation_action"),
        (FOREIGN, "novelty_largest"),
        (NEW, "novelty_peers"),
        (ENUMERATION, "events"),
        (EXFILTRATION, "bytes"),
    ],
)
def test_an_attack_shows_in_what_it_does(kind, statistic, played):
    """Each kind stands out from real sessions in the statistic that is about it."""
    place = STATISTICS.index(statistic)

    real, attack = (played[k]["statistic"][:, place] for k in (-1, kind))

    assert np.median(attack) > np.quantile(real, 0.9)


def test_some_injections_keep_the_length(played):
    """Half of the injected tasks take the place of own events."""
    lengths = set(played[INJECTED]["total"][:, EVENTS].tolist())

    assert 4.0 in lengths
    assert max(lengths) > 4.0


def test_a_delegation_calls_more_agents_or_is_in_a_longer_chain(played):
    """New ones, or known ones, or the chain: an expert must not learn that there have to be all."""
    attacks = played[DELEGATION]
    called, depth = attacks["total"][:, CALLEES], attacks["total"][:, DEPTH]
    is_deeper, is_known = depth > 0, attacks["total"][:, EVENTS] == 4.0

    assert (called[~is_deeper] > 4).all()
    assert (called[is_deeper] == 1).all()
    assert len(set(depth[is_deeper].tolist())) > 1
    assert set(depth[is_deeper].tolist()) <= {1.0, 2.0, 3.0, 4.0}
    assert is_known[is_deeper].all()
    assert (attacks["statistic"][is_known, NOVELTY_CONTEXT] < 8.0).all()
    assert (attacks["statistic"][~is_known, NOVELTY_CONTEXT] > 8.0).all()
    assert all(way.any() for way in (is_deeper, is_known & ~is_deeper, ~is_known))


@pytest.mark.parametrize("other", [{"target_agent": "b"}, {"delegation_depth": 2}])
def test_sessions_that_differ_in_delegation_alone_are_not_the_same(other):
    """Else which of them is a donor would depend on the order in which they end."""
    later_us = _START_US + 1000 * _HOUR_US
    common = {"ts_us": later_us, "action": "do", "session": "s", "session_end": True}
    one = Event(agent="one", target_agent="a", **common)
    two = Event(agent="two", **{"target_agent": "a", **common, **other})

    donors = []
    for events in ([one, two], [two, one]):
        shard = new_shard(_CONFIG)
        feed(shard, [*fleet(days=2), *events])
        found = shard.memory.recent_donors[: shard.memory.counters[RECENT_DONORS_USED]]
        donors.append(np.sort(found, order="order"))

    assert len(donors[0]) == 2
    assert donors[0].tobytes() == donors[1].tobytes()


def test_where_nobody_calls_anybody_it_is_not_rehearsed():
    """Every attack is of a kind that could be one of this fleet's."""
    rows = rows_of(feed(new_shard(_CONFIG), fleet(delegating=False)))

    kinds = set(rows["row"][rows["row"] <= FIRST_ROW].tolist())

    assert kinds == {FIRST_ROW - kind for kind in range(len(KINDS)) if kind != DELEGATION}


def test_an_exfiltration_differs_in_bytes_alone(played):
    """What it does and touches is what the session did."""
    attacks = played[EXFILTRATION]

    assert (attacks["total"][:, BYTES] > 4000).all()
    assert (attacks["total"][:, EVENTS] == 4.0).all()
    assert (attacks["statistic"][:, STATISTICS.index("novelty_sum")] < 8.0).all()


def test_real_sessions_do_not_notice():
    """With and without rehearsals the same is reported of real ones, and the same is known."""
    quiet, busy = (
        new_shard(small_config(reference={"rehearsals": rehearsals})) for rehearsals in (0, 4)
    )

    without, with_attacks = (rows_of(feed(shard, fleet())) for shard in (quiet, busy))

    assert (without["row"] >= -1).all()
    assert with_attacks[with_attacks["row"] >= -1].tobytes() == without.tobytes()
    assert (busy.memory.agents["draws"] == quiet.memory.agents["draws"]).all()
    assert busy.memory.recent.tolist() == quiet.memory.recent.tolist()


def test_a_tenant_never_meets_another_ones_things():
    """Where a tenant has one agent, nothing foreign can be spliced in, whoever else there is."""
    rows = rows_of(feed(new_shard(_CONFIG), fleet(agents=1, tenants=("red", "blue"))))

    kinds = set((FIRST_ROW - rows["row"][rows["row"] <= FIRST_ROW]).tolist())

    assert kinds == {NEW, ENUMERATION, EXFILTRATION, BURST, DELEGATION}


def test_the_same_events_make_the_same_attacks():
    """In batches of any size, nothing is drawn but from ids."""
    whole, pieces = (rows_of(feed(new_shard(_CONFIG), fleet(), batch)) for batch in (None, 7))

    for rows in (whole, pieces):
        rows["row"] = np.minimum(rows["row"], 0)  # places in a chunk differ
    assert whole.tobytes() == pieces.tobytes()
