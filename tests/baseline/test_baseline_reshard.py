"""Shards divided anew: who meets, who parts, what there is no room for; small examples."""

import numpy as np
import pytest

from astray.baseline.layout import ACTION, OWNER
from astray.baseline.learning import MASS_MASK
from astray.baseline.pages import _SALT, WAYS
from astray.baseline.reshard.divide import Fleet
from astray.baseline.reshard.pooling import pooled_ranking
from astray.baseline.reshard.spread import Spread, Tenants
from astray.baseline.reshard.tables import Heap, Items
from astray.baseline.shard import Shard
from astray.events import Event, encode_event
from astray.events.ids import pair_id, stable_id
from core import SOURCE, decoded, new_shard, part_for, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_START_US = NOW_US - 1000 * _HOUR_US - NOW_US % _HOUR_US


def _event(hour, agent, **other):
    return Event(ts_us=_START_US + int(hour * _HOUR_US), agent=agent, action="read", **other)


def _fed(spread, events, **caps):
    """Return shards that have seen events, one batch."""
    config = small_config(baseline=caps)
    shards = [new_shard(config, number) for number in range(spread.shards)]
    chunk = decoded(events)
    of = spread.of_events(chunk.rows)
    for shard in shards:
        shard.assess(part_for(shard, chunk, np.flatnonzero(of == shard.number)))
    return shards


def _fleet(shards, before):
    return Fleet.of([shard.dump() for shard in shards], before)


def _divided(shards, before, after, tenants=(), **caps):
    fleet = _fleet(shards, before)
    settings = new_shard(small_config(baseline=caps)).settings if caps else shards[0].settings
    known = Tenants(tenants)
    assert fleet.problems(after, known, settings) == []
    states = fleet.divided(after, known, settings)
    return [Shard.load(state, settings, [SOURCE]) for state in states]


def _problems(shards, before, after, tenants=()):
    return _fleet(shards, before).problems(after, Tenants(tenants), shards[0].settings)


def _group_in(shard, of):
    """Return the name of a group that is in that shard of so many."""
    names = (f"group-{number}" for number in range(10_000))
    return next(name for name in names if pair_id(0, stable_id(name)) % of == shard)


def _agents(shards):
    return [
        {int(key) for key in shard.memory.agents["key"] if key} for shard in shards
    ]  # fmt: skip


def _owner(rows, key):
    return rows[np.flatnonzero(rows["key"] == np.uint64(key))[0]]


def _known(memory, row):
    items = Items.of(memory.pages, row)
    return dict(zip(items.item.tolist(), items.weight.tolist(), strict=True))


def test_an_agent_with_two_groups_that_meet_becomes_one():
    """Its sessions and items are added, open sessions stay open, and one of two halves is whole."""
    here, there = _group_in(0, 2), _group_in(1, 2)
    events = [
        _event(
            0, "bot", group=here, session="a", resources=("x",), event_id="e1", session_end=True
        ),
        _event(
            0, "bot", group=there, session="b", resources=("x",), event_id="e2", session_end=True
        ),
        _event(
            1, "bot", group=there, session="c", resources=("y",), event_id="e3", session_end=True
        ),
        _event(2, "bot", group=here, session="both", resources=("z",), bytes=5),
        _event(2.1, "bot", group=there, session="both", resources=("z",), bytes=7),
        _event(2.2, "bot", group=there, session="alone"),
    ]
    before, after = Spread(2, by_group=True), Spread(1, by_group=True)
    shards = _fed(before, events)

    (joined,) = _divided(shards, before, after)

    memory = joined.memory
    parts = [_owner(shard.memory.agents, memory.agents[1]["key"]) for shard in shards]
    agent = memory.agents[1]
    assert [len(found) for found in _agents(shards)] == [1, 1]
    assert [int(part["sessions"]) for part in parts] == [1, 2]
    assert (joined.agents, int(agent["sessions"])) == (1, 3)
    assert agent["last_us"] == events[-1].ts_us
    assert memory.groups[agent["parent"]]["key"] == pair_id(0, stable_id(there))
    tables = [_known(shard.memory, part) for shard, part in zip(shards, parts, strict=True)]
    known = _known(memory, agent)
    assert known == {
        item: tables[0].get(item, 0.0) + tables[1].get(item, 0.0)
        for item in tables[0].keys() | tables[1].keys()
    }
    assert {stable_id(f"e{n}") & 0xFFFFFFFF for n in (1, 2, 3)} <= set(agent["seen"].tolist())
    both, alone = memory.sessions[1:3]
    assert (int(both["rows"]), both["total"][1], int(alone["rows"])) == (2, 12.0, 1)
    assert (agent["head"], both["after"], agent["tail"], alone["before"]) == (1, 2, 2, 1)
    assert joined.dump() == Shard.load(joined.dump(), joined.settings, [SOURCE]).dump()


def test_joined_sessions_end_once():
    """What was open in two shards ends as one session, with its findings, and is learnt once."""
    here, there = _group_in(0, 2), _group_in(1, 2)
    past = [
        _event(
            hour, "bot", group=group, session=f"{group}{hour}", resources=("x",), session_end=True
        )
        for hour in range(8)
        for group in (here, there)
    ]
    open_ = [
        _event(9, "bot", group=group, session="open", resources=(f"loot of {group}",))
        for group in (here, there)
    ]
    before, after = Spread(2, by_group=True), Spread(1, by_group=True)
    (joined,) = _divided(_fed(before, past + open_), before, after)
    found = joined.findings.of(int(joined.memory.sessions[1]["number"]))

    last = decoded([_event(20, "other", group=here)])
    ended = [row for r in joined.assess(part_for(joined, last, np.arange(1))) for row in r.rows]

    assert {group for group in (here, there) if any(group.encode() in f.line for f in found)} == {
        here,
        there,
    }
    assert [int(row["rows"]) for row in ended if row["row"] == -1] == [2]
    assert int(_owner(joined.memory.agents, pair_id(0, stable_id("bot")))["sessions"]) == 17


def test_what_was_found_stays_with_its_session():
    """Sessions are numbered anew where they come to, and what was found in them with them."""
    names = {pair_id(0, stable_id(f"bot-{number}")): f"bot-{number}" for number in range(9)}
    past = [
        _event(hour, name, session=f"s{hour}", resources=("x",), session_end=True)
        for hour in range(8)
        for name in names.values()
    ]
    open_ = [_event(9, name, session="open", resources=("loot",)) for name in names.values()]
    before, after = Spread(4, by_group=False), Spread(3, by_group=False)

    divided = _divided(_fed(before, past + open_), before, after)

    told = {}
    for shard in divided:
        memory = shard.memory
        for session in memory.sessions[1:]:
            found = shard.findings.of(int(session["number"]))
            agent = int(memory.agents[session["agent"]]["key"])
            told[names[agent]] = {finding.line for finding in found}
    assert told == {
        event.agent: {encode_event(event)} for event in open_
    }  # everybody's own event, and no other's


def test_an_item_that_was_known_is_known_after_parting():
    """A fleet of agents without a group knows in every shard what it knew in one, as well as there."""
    agents = [f"bot-{number}" for number in range(12)]
    events = [_event(0, agent, session="s", resources=("x",), session_end=True) for agent in agents]
    before, after = Spread(1, by_group=True), Spread(4, by_group=True)
    shards = _fed(before, [*events, _event(1, agents[0])])

    parted = _divided(shards, before, after)

    memory = shards[0].memory
    fleet = (
        int(np.flatnonzero(memory.groups["parent"][2:] == np.arange(2, len(memory.groups)))[0]) + 2
    )
    key, whole = memory.groups[fleet]["key"], _known(memory, memory.groups[fleet])
    owners = [_owner(shard.memory.groups, key) for shard in parted]
    assert [_known(shard.memory, o) for shard, o in zip(parted, owners, strict=True)] == [whole] * 4
    assert sum(float(owner["draws"].sum()) for owner in owners) == pytest.approx(
        float(memory.groups[fleet]["draws"].sum())
    )


def test_how_common_an_item_is_stays_a_share_of_its_mass():
    """Peers that part take their share of both, so a likeness is what it was."""
    agents = [f"bot-{number}" for number in range(12)]
    events = [
        _event(hour, agent, session=f"s{hour}", resources=("x",), session_end=True)
        for hour in range(3)
        for agent in agents
    ]
    before, after = Spread(1, by_group=False), Spread(4, by_group=False)
    shards = _fed(before, [*events, _event(4, agents[0])])

    parted = _divided(shards, before, after)

    ((_, whole),) = _grouped(shards[0])
    read = pair_id(int(_SALT) + ACTION, stable_id("read")) >> 32
    for shard in parted:
        for owner, known in _grouped(shard):
            assert owner["mass"] == pytest.approx(owner["mass"][0] * np.ones(3))
            assert known[read ^ MASS_MASK] == pytest.approx(float(owner["mass"][ACTION]))
            assert known[read] == whole[read]
    masses = [owner["mass"].sum() for shard in parted for owner, _ in _grouped(shard)]
    assert sum(masses) == pytest.approx(float(_grouped(shards[0])[0][0]["mass"].sum()), rel=1e-5)


def _grouped(shard):
    """Return the groups of a shard that say how common things are, with what is in their tables."""
    groups = shard.memory.groups
    return [(row, _known(shard.memory, row)) for row in groups[groups["mass"][:, 0] > 0]]


def test_a_ranking_is_neither_blunter_nor_sharper():
    """Mixed in the agents' shares, with the sessions of the largest; one alone is copied."""
    few, many = np.zeros((3, 2, 8), np.int32), np.zeros((3, 2, 8), np.int32)
    few[0, :, 1], many[0, :, 3] = 10, 90

    mixed = pooled_ranking([few, many], [0.5, 0.5])

    assert np.array_equal(pooled_ranking([few, many], [0.25, 0.0]), few)
    assert mixed[0].tolist() == [[0, 9, 0, 81, 0, 0, 0, 0]] * 2
    assert not mixed[1:].any()


def test_agents_at_their_cap_are_taken_and_beyond_it_refused():
    """What fits exactly goes on, and forgets somebody for the next newcomer; one more is too many."""
    before, after = Spread(3, by_group=False), Spread(1, by_group=False)
    events = [_event(0, f"bot-{number}", session_end=True) for number in range(64)]
    exactly = _fed(before, events[:63], agents_max=64)

    (full,) = _divided(exactly, before, after)
    newcomer = decoded([_event(1, "newcomer")])
    full.assess(part_for(full, newcomer, np.arange(1)))

    assert len(full.memory.agents) == 64
    assert full.agents < 64
    assert _problems(_fed(before, events, agents_max=64), before, after) == [
        "a shard would have 64 agents: baseline.agents_max must be at least 65"
    ]


def test_every_cap_that_would_not_be_kept_is_named():
    """Agents, open sessions and groups, each with what would do."""
    before, after = Spread(5, by_group=False), Spread(1, by_group=False)
    events = [_event(0, f"bot-{number}", group=f"g{number}") for number in range(70)]

    found = _problems(
        _fed(before, events, agents_max=64, sessions_max=64, groups_max=40), before, after
    )

    assert found == [
        "a shard would have 70 agents: baseline.agents_max must be at least 71",
        "a shard would have 70 sessions: baseline.sessions_max must be at least 71",
        "a shard would have 71 groups: baseline.groups_max must be at least 73",
    ]


def test_who_came_when_there_was_no_room_for_groups():
    """It is not known where they are routed: only what keeps shards together, or goes by agent."""
    before = Spread(4, by_group=True)
    events = [_event(0, f"bot-{number}", group=f"group-{number}") for number in range(40)]
    shards = _fed(before, events, groups_max=4)

    (said,) = _problems(shards, before, Spread(3, by_group=True))

    assert "of 36 agents it is not known any more by what they are routed" in said
    assert said.endswith('shard_by = "agent", or with a number of shards that divides 4')
    for after in (Spread(2, by_group=True), Spread(1, by_group=True), Spread(3, by_group=False)):
        divided = _divided(shards, before, after, groups_max=40)
        assert set.union(*_agents(divided)) == set.union(*_agents(shards))


def test_a_tenant_that_nobody_remembers_is_not_guessed_at():
    """Whether its agents have a group cannot be told; where somebody knows the tenant, it can."""
    before, after = Spread(2, by_group=True), Spread(3, by_group=True)
    events = [_event(0, f"bot-{n}", tenant="gone", session_end=True) for n in range(9)]
    shards = _fed(before, events)

    assert "of 9 agents it is not known any more" in _problems(shards, before, after)[0]
    divided = _divided(shards, before, after, [stable_id("gone")])
    for number, keys in enumerate(_agents(divided)):
        assert {key % 3 for key in keys} <= {number}


def test_shards_that_are_not_at_one_are_refused():
    """One that has gone ahead, as it waits for a slow source no more, cannot be put with others."""
    before = Spread(2, by_group=True)
    ahead, behind = _fed(before, [_event(0, "bot")]), _fed(before, [_event(5, "bot")])

    (said,) = _problems([ahead[0], behind[1]], before, Spread(1, by_group=True))

    assert said.startswith("some shards have come to 2026-10-11T10:00:00.000Z, some")


def test_a_table_keeps_the_heaviest_at_its_cap():
    """The smallest table that has room; where none has, the lightest of a full page stay out."""
    item = np.arange(1, 41, dtype=np.uint32)
    items = Items(item, item.astype(np.float32), np.zeros(40, np.uint16))

    roomy, tight = items.table(10), items.table(1)

    assert (len(roomy), len(tight)) == (4, 2)
    assert sorted(roomy["item"][roomy["item"] > 0].tolist()) == item.tolist()
    assert sorted(tight["item"].ravel().tolist()) == list(range(41 - 2 * WAYS, 41))
    owner, heap = np.zeros(1, OWNER)[0], Heap()
    heap.put_table(owner, tight)
    assert sorted(Items.of(heap.pages(), owner).item.tolist()) == list(range(9, 41))
