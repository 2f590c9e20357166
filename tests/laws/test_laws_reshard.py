"""The laws of shards divided anew: what is an agent's own stays as it is, to the byte."""

import dataclasses
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.baseline.buffers import PENDING_USED
from astray.baseline.layout import FIRST_TOTAL, IMPERSONATION, OWNER, SESSION
from astray.baseline.memory import GROUPS
from astray.baseline.reshard.divide import Fleet
from astray.baseline.reshard.spread import Spread, Tenants
from astray.baseline.shard import Shard
from astray.events import Chunk, Event, decode, encode_event
from astray.events.ids import stable_id
from core import decoded, new_shard, part_for, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_START_US = NOW_US - 1000 * _HOUR_US - NOW_US % _HOUR_US
_CONFIG = small_config()
_SETTINGS = new_shard(_CONFIG).settings
_SOURCES = ("fast", "slow")
_PLACES = ("run", "parent", "head", "tail", "agent", "before", "after", "number", "script")
"""Where things lie: it changes when they move."""

a_few = settings(max_examples=20)  # up to 27 shards are made for each example
spreads = st.builds(Spread, st.integers(1, 9), st.booleans())


@st.composite
def streams(draw, size=60, *, grouped=False):
    """Draw a stream in time order: agents of some tenants, most of them with a group of their own."""
    events, ts_us = [], _START_US
    for number in range(draw(st.integers(1, size))):
        ts_us += draw(st.sampled_from([0, 1, 1_000_000, 25 * 60_000_000, _HOUR_US, 30 * _HOUR_US]))
        agent = draw(st.integers(0, 8))
        events.append(
            Event(
                ts_us=ts_us,
                agent=f"agent-{agent}",
                tenant="there" if agent % 4 == 0 else "",
                group=f"group-{agent % 3}" if agent % 3 or grouped else "",
                action=draw(st.sampled_from(["read", "write", "list", "delete"])),
                session=draw(st.sampled_from(["", "s1", "s2"])),
                resources=tuple(draw(st.lists(st.sampled_from("abcdef"), max_size=3))),
                bytes=draw(st.sampled_from([0, 10, 10_000_000])),
                event_id=draw(st.sampled_from(["", f"e{number}"])),
                session_end=draw(st.integers(0, 4)) == 0,
            )
        )
    return events


def _shards(spread):
    return [new_shard(_CONFIG, number, _SOURCES) for number in range(spread.shards)]


def _feed(shards, spread, events, source="fast"):
    """Feed events to their shards as the dataflow does; return what is reported."""
    chunk = decoded(events, source)
    of = spread.of_events(chunk.rows)
    return [
        records
        for shard in shards
        for records in shard.assess(part_for(shard, chunk, np.flatnonzero(of == shard.number)))
    ]


def _hush(shards, source):
    """Let a source be silent, so that nobody waits for it."""
    for shard in shards:
        nothing = decode(Chunk(source, 0, b"", silent=True), NOW_US)
        shard.assess(part_for(shard, nothing, np.zeros(0, np.intp)))


def _begun(spread, events, waiting=()):
    """Return shards that have seen events, and have others waiting for a slower source."""
    shards = _shards(spread)
    _hush(shards, "slow")
    _feed(shards, spread, events)
    if waiting:
        _feed(shards, spread, events[-1:], "slow")
        _feed(shards, spread, waiting)
    return shards


def _divided(shards, before, after):
    """Return other shards made of shards."""
    fleet = Fleet.of([shard.dump() for shard in shards], before)
    tenants = Tenants({*fleet.tenants(), stable_id("there")})  # deciders know those that ended
    assert fleet.problems(after, tenants, _SETTINGS) == []
    states = fleet.divided(after, tenants, _SETTINGS)
    return [Shard.load(state, _SETTINGS, _SOURCES) for state in states]


def _own(rows, names):
    return tuple(rows[name].tobytes() for name in names if name not in _PLACES)


def _table(memory, row):
    size = 1 << int(row["run_bits"]) if row["run"] > 0 else 0
    return memory.pages[row["run"] : row["run"] + size].tobytes()


def _script(memory, session):
    script = memory.scripts[session["script"]]
    return int(session["script"] > 0), int(script["atoms_used"]), script["atoms"].tobytes()


def _agents(shards):
    """Return all that is an agent's own, byte for byte: baseline, table, open sessions, findings."""
    found = {}
    for shard in shards:
        memory = shard.memory
        for agent in memory.agents[memory.agents["key"] != 0]:
            sessions, at = [], int(agent["head"])
            while at:
                session = memory.sessions[at]
                findings = shard.findings.of(int(session["number"]))
                left = _own(session, SESSION.names), _script(memory, session)
                sessions.append((*left, _table(memory, session), findings))
                at = int(session["after"])
            group = memory.groups[agent["parent"]]
            peers = (int(group["key"]), int(memory.groups[group["parent"]]["key"]))
            own = (_own(agent, OWNER.names), _table(memory, agent), peers, sessions)
            assert int(agent["key"]) not in found
            found[int(agent["key"])] = own
    return found


def _totals(shards):
    """Return what must stay what it is over all shards."""
    sums = defaultdict(float)
    for shard in shards:
        memory = shard.memory
        for row in range(1, memory.used[GROUPS]):
            owner, taught = memory.groups[row], memory.taught[row]
            for name in ("draws", "news", "child_draws", "child_news", "mass", "totals"):
                sums[int(owner["key"]), name] += float(owner[name].sum())
            for name in taught.dtype.names:
                sums[int(owner["key"]), "taught", name] += float(taught[name].sum())
        for lesson in memory.pending[: memory.counters[PENDING_USED]]:
            of = int(memory.groups[lesson["group"]]["key"]), int(lesson["item"])
            sums[*of, "known"] += float(lesson["known"])
            sums[*of, "mass"] += float(lesson["mass"])
        sums["recent"] += float(memory.recent.sum())
        for place, count in enumerate(memory.counters[:PENDING_USED].tolist()):
            sums["counters", place] += count
    return {name: total for name, total in sums.items() if total}


def _waiting(shards):
    """Return the lines that wait, and where."""
    found = Counter()
    for shard in shards:
        _, arrays = shard.waiting.dump()
        for name, lines in arrays.items():
            if name.startswith("lines"):
                windows = arrays[name.replace("lines", "window_us")].tolist()
                assert windows == sorted(windows)
                pairs = zip(windows, lines.tobytes().splitlines(), strict=True)
                found.update((shard.number, *pair) for pair in pairs)
    return found


def _later(events, hours):
    """Return the events as if they came hours after the last of them."""
    past_us = events[-1].ts_us - events[0].ts_us + hours * _HOUR_US
    return [
        dataclasses.replace(
            e, ts_us=e.ts_us + past_us, event_id=e.event_id and f"again-{e.event_id}"
        )
        for e in events
    ]


@a_few
@given(streams(), spreads, spreads)
def test_there_and_back_an_agents_own_is_the_same_to_the_byte(events, before, after):
    """Baseline, table, peers, open sessions in their order and what was found, also half way."""
    shards = _begun(before, events)

    half = _divided(shards, before, after)
    back = _divided(half, after, before)

    assert _agents(half) == _agents(shards)
    assert _agents(back) == _agents(shards)
    assert sum(len(_agents([shard])) for shard in half) == len(
        {(e.tenant, e.agent) for e in events}
    )


@a_few
@given(streams(), spreads, spreads)
def test_sums_stay_what_they_are_over_the_fleet(events, before, after):
    """What groups and fleets have counted is neither lost nor doubled, nor is what is to be learnt."""
    shards = _begun(before, events)

    half = _divided(shards, before, after)

    assert _totals(half) == pytest.approx(_totals(shards), rel=1e-4)


@a_few
@given(streams(), spreads, spreads)
def test_everybody_lies_where_the_next_event_looks(events, before, after):
    """Whoever acts again is known: the same events later bring no agent and no group."""
    half = _divided(_begun(before, events), before, after)
    known = [(len(_agents([shard])), int(shard.memory.used[GROUPS])) for shard in half]

    _feed(half, after, _later(events, 5))

    now = [(len(_agents([shard])), int(shard.memory.used[GROUPS])) for shard in half]
    assert now == known


@a_few
@given(streams(), spreads, spreads)
def test_what_waits_goes_on_waiting(events, before, after):
    """Every waiting event waits in the shard it is routed to now, in the order of its windows."""
    ahead = _later(events, 3)
    shards = _begun(before, events, ahead)

    half = _divided(shards, before, after)

    of = after.of_events(decoded(ahead).rows).tolist()
    routed = Counter((shard, encode_event(e)) for shard, e in zip(of, ahead, strict=True))
    waiting = Counter()
    for (shard, _, line), count in _waiting(half).items():
        waiting[shard, line] += count
    assert sum(waiting.values()) == sum(_waiting(shards).values())
    assert not waiting - routed
    assert [shard.waiting.dump()[0] for shard in half] == [shards[0].waiting.dump()[0]] * len(half)


@a_few
@given(streams(), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_parted_and_joined_again_nothing_has_changed(events, shards_count, times, by_group):
    """N to k x N and back: groups and fleets know what they knew, the ranking is what it was."""
    before, after = Spread(shards_count, by_group), Spread(shards_count * times, by_group)
    shards = _begun(before, events)

    back = _divided(_divided(shards, before, after), after, before)

    for old, new in zip(shards, back, strict=True):
        if not old.agents:  # nobody's ranking is everybody's from then on
            continue
        assert np.array_equal(new.memory.tally, old.memory.tally)
        assert np.array_equal(new.memory.recent, old.memory.recent)
        assert new.memory.window.tobytes() == old.memory.window.tobytes()
        assert _peers(new) == pytest.approx(_peers(old), rel=1e-4)


def _peers(shard):
    """Return the tables of groups and fleets, and their moments, as numbers by name."""
    memory, found = shard.memory, {}
    for row in range(1, memory.used[GROUPS]):
        owner = memory.groups[row]
        run, size = int(owner["run"]), 1 << int(owner["run_bits"]) if owner["run"] > 0 else 0
        pages = memory.pages[run : run + size]
        for item, weight in zip(
            pages["item"].ravel().tolist(), pages["weight"].ravel(), strict=True
        ):
            if item:
                found[int(owner["key"]), item] = float(weight)
        for name in ("draws", "news", "mean", "square"):
            for place, value in enumerate(owner[name].tolist()):
                found[int(owner["key"]), name, place] = value
    return found


@a_few
@given(streams(grouped=True), streams(grouped=True), st.integers(1, 9), st.integers(1, 9))
def test_what_depends_on_an_agent_and_its_group_goes_on_exactly(events, more, before, after):
    """Likeness, totals and rhythm of every session are those of a run that was never divided."""
    old, new = Spread(before, by_group=True), Spread(after, by_group=True)
    whole, begun = _begun(old, events), _begun(old, events)
    later = [dataclasses.replace(e, ts_us=e.ts_us - _START_US + events[-1].ts_us) for e in more]

    expected = _statistics(_feed(whole, old, later))
    found = _statistics(_feed(_divided(begun, old, new), new, later))

    assert found == expected


def _statistics(records):
    """Return what does not depend on the fleet, of every session that has ended, by its agent."""
    found = defaultdict(list)
    for some in records:
        for row in some.rows[some.rows["row"] == -1]:
            own = (row["statistic"][IMPERSONATION:FIRST_TOTAL], row["statistic"][FIRST_TOTAL:])
            totals = (row["total"], row["expected"], row["spread"])
            values = [array.tolist() for array in (*own, *totals)]
            found[int(row["agent"])].append((int(row["session"]), int(row["age"]), *values))
    return {agent: sorted(map(str, sessions)) for agent, sessions in found.items()}
