"""The laws of verdicts: the same events and verdicts give the same bytes, however they come."""

import dataclasses

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from astray.baseline.buffers import N_JUDGED
from astray.baseline.judgement import Judgement, Said
from astray.baseline.keeping import kept_rows
from astray.baseline.reshard.divide import Fleet
from astray.baseline.reshard.spread import Spread, Tenants
from astray.baseline.shard import Shard
from astray.events import Event
from astray.events.ids import pair_id, stable_id
from core import decoded as chunk_of
from core import feed, new_shard, part_for, reported, say, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_START_US = NOW_US - 900 * _DAY_US - NOW_US % _HOUR_US
_CONFIG = small_config(
    learning={
        "suspicious_bits": 0.5, "quarantine_score": 4.0, "quarantine_days": 12.0, "agreement": 2.0
    }
)  # fmt: skip
_AGENTS = ("a", "b", "c")
_SESSIONS = ("s1", "s2", "s3")

a_few = settings(
    max_examples=25, phases=[Phase.generate]
)  # each takes some shards through some weeks


@st.composite
def streams(draw, size=60):
    """Draw a stream in time order that is mostly alike and now and then odd, over some weeks."""
    events, ts_us = [], _START_US
    for number in range(draw(st.integers(8, size))):
        ts_us += draw(st.sampled_from([1_000_000, _HOUR_US, 9 * _HOUR_US, 30 * _HOUR_US]))
        agent = draw(st.sampled_from(_AGENTS))
        odd = draw(st.integers(0, 4)) == 0
        events.append(
            Event(
                ts_us=ts_us,
                agent=agent,
                group="" if agent == "c" else "peers",
                action=draw(st.sampled_from(["drop", "export", "grant"])) if odd else "read",
                session=draw(st.sampled_from(_SESSIONS)),
                resources=(draw(st.sampled_from("xyz")),) if odd else ("ledger",),
                bytes=draw(st.sampled_from([10, 10_000_000])),
                event_id=f"e{number}",
                session_end=draw(st.integers(0, 2)) > 0,
            )
        )
    return events


@st.composite
def verdicts(draw, size=6):
    """Draw verdicts about the agents' sessions, some of them taken back later."""
    told = []
    for number in range(1, draw(st.integers(1, size)) + 1):
        at_us = _START_US + draw(st.integers(0, 30)) * 11 * _HOUR_US
        agent = pair_id(0, stable_id(draw(st.sampled_from(_AGENTS))))
        session = pair_id(agent, stable_id(draw(st.sampled_from(_SESSIONS))))
        said = draw(st.sampled_from([Said.EXCUSED, Said.PEERS_EXCUSED, Said.CONFIRMED]))
        until_us = at_us + draw(st.sampled_from([2, 9])) * _DAY_US if draw(st.booleans()) else 0
        one = Judgement(
            at_us, at_us, 2 * number, said, agent, session, -1, 0, 2**62,
            0 if said is Said.CONFIRMED else until_us, 0,
        )  # fmt: skip
        told.append(one)
        if draw(st.booleans()):
            later_us = at_us + draw(st.integers(0, 20)) * 7 * _HOUR_US
            undo = one._replace(
                at_us=later_us, given_us=later_us, id=one.id + 1, said=Said.UNDONE,
                until_us=0, undoes=one.id,
            )  # fmt: skip
            told.append(undo)
    return told


def _through(shard, events, told):
    say(shard, *told)
    return feed(shard, events)


@a_few
@given(streams(), verdicts(), st.integers(1, 7))
def test_batches_change_nothing(events, told, batch):
    """One event at a time, a few, or all at once: the same reports and bytes."""
    whole, parts = new_shard(_CONFIG), new_shard(_CONFIG)
    say(whole, *told)
    say(parts, *told)

    together = feed(whole, events)

    assert reported(feed(parts, events, batch)) == reported(together)
    assert parts.dump() == whole.dump()


@a_few
@given(streams(), verdicts(), st.randoms(), st.lists(st.integers(0, 60), max_size=6))
def test_when_verdicts_are_heard_changes_nothing(events, told, random, cuts):
    """In any order and at any time before they take effect, once or several times."""
    at_first, late = new_shard(_CONFIG), new_shard(_CONFIG)
    say(at_first, *told)
    feed(at_first, events)

    shuffled = random.sample(told, len(told))
    for place, event in enumerate(events):
        window_us = event.ts_us - event.ts_us % _HOUR_US
        due = [one for one in shuffled if one.at_us <= window_us or place in cuts]
        say(late, *due)
        shuffled = shuffled if place in cuts else [one for one in shuffled if one not in due]
        feed(late, [event])
    say(late, *shuffled)

    assert _without_the_order_of_hearing(late) == _without_the_order_of_hearing(at_first)


def _without_the_order_of_hearing(shard):
    known = shard.judging.dump()
    shard.judging.load({**known, "known": sorted(known["known"])})
    return shard.dump()


@a_few
@given(streams(), verdicts(), st.integers(0, 60))
def test_restoring_continues_exactly(events, told, cut):
    """A state that was written and read, with verdicts that wait and that hold, goes on alike."""
    live = new_shard(_CONFIG)
    _through(live, events[:cut], told)

    restored = Shard.load(live.dump(), live.settings, ["source"])

    assert restored.dump() == live.dump()
    assert reported(feed(restored, events[cut:])) == reported(feed(live, events[cut:]))
    assert restored.dump() == live.dump()


def _agents_of(shards):
    """Return what each agent has learnt and what is kept of it, item by item."""
    found = {}
    for shard in shards:
        memory = shard.memory
        for agent in memory.agents[memory.agents["key"] != 0]:
            rows = kept_rows(memory)
            rows = rows[rows["agent"] == agent["key"]]
            kept = [
                (*(row[name].tobytes() for name in row.dtype.names if name != "run"), _items(memory, row))
                for row in rows[np.lexsort((rows["key"], rows["last_us"]))]
            ]  # fmt: skip
            numbers = tuple(
                agent[name].tobytes() for name in ("draws", "news", "mass", "mean", "square")
            )
            found[int(agent["key"])] = (_items(memory, agent), numbers, kept)
    return found


def _items(memory, table):
    size = 1 << int(table["run_bits"]) if table["run"] > 0 else 0
    pages = memory.pages[table["run"] : table["run"] + size]
    used = pages["item"] != 0
    columns = (pages[name][used].tolist() for name in ("item", "weight", "note"))
    return sorted(zip(*columns, strict=True))


def _fed(spread, events, told):
    shards = [new_shard(_CONFIG, number) for number in range(spread.shards)]
    for shard in shards:
        say(shard, *told)
    _feed_all(shards, spread, events)
    return shards


def _feed_all(shards, spread, events):
    chunk = chunk_of(events)
    of = spread.of_events(chunk.rows)
    for shard in shards:
        shard.assess(part_for(shard, chunk, np.flatnonzero(of == shard.number)))


@a_few
@given(streams(), verdicts(), st.integers(1, 5), st.integers(1, 5), st.integers(8, 60))
def test_shards_divided_anew_go_on_with_their_verdicts(events, told, one, other, cut):
    """What waits, holds and is kept goes with its agents, and is judged no sooner or later.

    Sessions are ranked by their shard, so what is learnt may differ once they go on apart.
    """
    before, after = Spread(one, by_group=True), Spread(other, by_group=True)
    shards = _fed(before, events[:cut], told)
    own = _agents_of(shards)
    fleet = Fleet.of([shard.dump() for shard in shards], before)
    tenants = Tenants(fleet.tenants())
    states = fleet.divided(after, tenants, shards[0].settings)

    divided = [Shard.load(state, shards[0].settings, ["source"]) for state in states]

    for name in ("waiting", "names"):
        heard = {tuple(one) for shard in shards for one in shard.judging.dump()[name]}
        assert all({tuple(one) for one in s.judging.dump()[name]} == heard for s in divided), name
    for key, (items, numbers, kept) in _agents_of(divided).items():
        assert (items, numbers) == own[key][:2]
        assert [row[-1] for row in kept] == [row[-1] for row in own[key][2]]
    assert sum(len(kept_rows(s.memory)) for s in divided) == sum(
        len(kept_rows(s.memory)) for s in shards
    )
    _feed_all(divided, after, events[cut:])
    assert {len(shard.judging.dump()["known"]) for shard in divided} == {len(told)}


@a_few
@given(streams(), verdicts())
def test_interleaving_agents_changes_nothing(events, told):
    """Within an event-time window only an agent's own order counts, with verdicts, too."""
    shard, sorted_ = new_shard(_CONFIG), new_shard(_CONFIG)
    by_agent = sorted(events, key=lambda event: (event.ts_us // _HOUR_US, event.agent))

    _through(shard, events, told)
    _through(sorted_, by_agent, told)

    def seen(of):
        return {
            key: (items, numbers, [row[-1] for row in kept])
            for key, (items, numbers, kept) in _agents_of([of]).items()
        }

    assert seen(shard) == seen(sorted_)


@a_few
@given(streams(), verdicts())
def test_what_is_undone_leaves_no_item_behind(events, told):
    """Once all verdicts are taken back, agents know what they know without them."""
    end_us = events[-1].ts_us + _DAY_US
    undone = [
        one._replace(at_us=end_us, given_us=end_us, id=one.id + 1, said=Said.UNDONE, until_us=0,
                     undoes=one.id)
        for one in told
        if one.said is not Said.UNDONE
    ]  # fmt: skip
    given_ = [one._replace(at_us=end_us) for one in told if one.said is not Said.UNDONE]
    shard, untold = new_shard(_CONFIG), new_shard(_CONFIG)
    last = dataclasses.replace(events[-1], ts_us=end_us + _HOUR_US, event_id="", session="last")

    _through(shard, [*events, last], [*given_, *undone])
    feed(untold, [*events, last])

    assert int(shard.memory.counters[N_JUDGED]) > 0
    for key, (items, _, _) in _agents_of([shard]).items():
        without = _agents_of([untold])[key][0]
        assert [item for item, _, _ in items] == [item for item, _, _ in without]
        np.testing.assert_allclose(
            [weight for _, weight, _ in items], [weight for _, weight, _ in without], rtol=1e-4
        )
