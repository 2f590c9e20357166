"""What verdicts do to baselines: taught, taken back, undone, and who leaves quarantine without."""

import dataclasses

import numpy as np
import pytest

from astray.baseline.buffers import KEPT_USED, N_JUDGED, N_RELEASED, N_UNKEPT, N_UNMATCHED
from astray.baseline.judgement import Fate, Judgement, Said
from astray.baseline.keeping import kept_rows
from astray.baseline.kept import KEPT_OF_AGENT_MAX
from astray.baseline.layout import (
    FIRST_TOTAL,
    NOVELTY_LARGEST,
    NOVELTY_SUM,
    TOTALS,
)
from astray.baseline.learning import SUSPICIOUS_UNITS
from astray.baseline.pages import WAYS
from astray.baseline.rehearsal import AGREED_ROW, EXPIRED_ROW, RESTORED_ROW, STRUCK_ROW
from astray.events import Event, parse_line
from astray.events.ids import pair_id, stable_id
from core import feed, new_shard, say, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_START_US = NOW_US - 900 * _DAY_US - NOW_US % _HOUR_US
_BEGUN = 40
_CONFIG = small_config(learning={"suspicious_bits": 2.0, "quarantine_score": 20.0})
_BYTES = FIRST_TOTAL + TOTALS.index("bytes")


def _at(day, hour=0.0):
    return _START_US + day * _DAY_US + int(hour * _HOUR_US)


def _usual(day, agent="bot", hour=0.0):
    return Event(
        ts_us=_at(day, hour), agent=agent, action="read", session=f"{agent}-{day}", group="peers",
        resources=("ledger",), source="here", bytes=100, session_end=True,
    )  # fmt: skip


def _odd(day, agent="bot", session="odd", **other):
    event = _usual(day, agent, hour=2)
    odd = {"action": "export", "resources": ("payroll",), "source": "there", **other}
    return dataclasses.replace(event, session=session, **odd)


def _key(agent="bot"):
    return pair_id(0, stable_id(agent))


def _judgement(said, number, at_us, agent="bot", session="odd", until_us=0, undoes=0):
    return Judgement(
        at_us=at_us, given_us=at_us, id=number, said=said, agent=_key(agent),
        session=pair_id(_key(agent), stable_id(session)), start_ms=-1, first_us=0, last_us=2**62,
        until_us=until_us, undoes=undoes,
    )  # fmt: skip


def _begun(config=_CONFIG, agents=("bot", "peer")):
    """Return a shard that knows agents for a while, and then sees an odd session of the first."""
    shard = new_shard(config)
    past = [_usual(day, agent) for day in range(_BEGUN) for agent in agents]
    feed(shard, [*past, _odd(_BEGUN), _usual(_BEGUN + 1, agents[-1])])
    return shard


def _kept(shard, agent="bot"):
    """Return what is kept of an agent."""
    rows = kept_rows(shard.memory)
    return rows[rows["agent"] == np.uint64(_key(agent))]


def _turn(shard, day):
    """Let time pass with a session of a peer that does nothing new."""
    feed(shard, [_usual(day, "peer")])


def _statistics(shard, event):
    """Return how a session would be ranked, without learning it."""
    copy = type(shard).load(shard.dump(), shard.settings, ["source"])
    (ended,) = [
        row
        for records in feed(copy, [event])
        for row in records.rows
        if row["row"] == -1 and row["agent"] == _key(event.agent)
    ]
    return ended["statistic"]


def _novelty(shard, event):
    return float(_statistics(shard, event)[NOVELTY_SUM])


def _own(shard, agent="bot"):
    """Return the baseline of an agent, and what its table has, item by item."""
    memory = shard.memory
    (row,) = memory.agents[memory.agents["key"] == np.uint64(_key(agent))]
    numbers = {
        name: row[name].copy() for name in ("draws", "news", "mass", "totals", "mean", "square")
    }
    return _items(shard, row), numbers


def _items(shard, row):
    """Return what the items of a table weigh."""
    pages = shard.memory.pages[row["run"] : row["run"] + (1 << int(row["run_bits"]))]
    used = pages["item"] != 0
    return dict(zip(pages["item"][used].tolist(), pages["weight"][used].tolist(), strict=True))


def _news_that_peers_know(shard):
    """Return how many of the items that the first agent alone has shown its group knows."""
    (agent,) = shard.memory.agents[shard.memory.agents["key"] == np.uint64(_key())]
    known = _items(shard, shard.memory.groups[agent["parent"]])
    news = set(_own(shard)[0]) - set(_own(shard, "peer")[0])
    return sum(known.get(item, 0.0) > 0.0 for item in news)


def _assert_same_baseline(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for name in one[1]:
        assert one[1][name] == pytest.approx(other[1][name], rel=1e-4, abs=1e-4), name


def test_an_odd_session_is_kept_out_and_kept():
    """What was new in it is as new the next time, and the shard remembers what it would teach."""
    shard = _begun()

    (kept,) = _kept(shard)

    assert int(kept["units"]) == 0
    assert int(kept["agent"]) == _key()
    assert _novelty(shard, _odd(_BEGUN + 3, session="again")) > 20.0


def test_what_is_odd_becomes_known_to_its_agent_before_its_peers():
    """Odd sessions make it usual for their agent; only one that is odd no more tells its peers."""
    shard = _begun(small_config(learning={"suspicious_bits": 2.0, "quarantine_score": 120.0}))
    odd, told = [], []
    for day in range(_BEGUN + 1, _BEGUN + 16):
        odd.append(int(np.count_nonzero(_kept(shard)["units"] == SUSPICIOUS_UNITS)))
        told.append(_news_that_peers_know(shard) > 0)
        feed(shard, [_odd(day, session=f"odd-{day}"), _usual(day + 1, "peer")])

    first = told.index(True)

    assert odd[: first - 1] == list(range(1, first))
    assert odd[first] == odd[first - 1] >= 3


def test_a_false_positive_is_new_no_more():
    """From the turn of the window on the same behaviour is the agent's own."""
    shard = _begun()
    say(shard, _judgement(Said.EXCUSED, 1, _at(_BEGUN + 2)))
    before = _novelty(shard, _odd(_BEGUN + 1, session="too soon"))

    _turn(shard, _BEGUN + 2)

    assert before > 20.0
    assert _novelty(shard, _odd(_BEGUN + 3, session="again")) == 0.0
    assert int(shard.memory.counters[N_JUDGED]) == 1


def test_a_false_positive_is_its_agents_alone():
    """A peer that does the same is as odd as before."""
    shard = _begun()
    event = _odd(_BEGUN + 3, "peer", "again")
    before = _novelty(shard, event)
    say(shard, _judgement(Said.EXCUSED, 1, _at(_BEGUN + 2)))

    _turn(shard, _BEGUN + 2)

    assert _novelty(shard, event) == pytest.approx(before, rel=0.05)


def test_a_false_positive_of_a_group_is_new_to_no_peer():
    """Neither to those that are there, nor to one that comes later."""
    shard = _begun()
    say(shard, _judgement(Said.PEERS_EXCUSED, 1, _at(_BEGUN + 2)))

    _turn(shard, _BEGUN + 2)

    for agent in ("bot", "peer", "newcomer"):
        event = _odd(_BEGUN + 3, agent, "again", source="", session_end=True)
        assert float(_statistics(shard, event)[NOVELTY_LARGEST]) < 1.0, agent


def test_what_is_excused_does_not_fade_before_its_end():
    """A verdict of half a year holds for half a year, and what is learnt counts half after 21 d."""
    shard = _begun()
    end = _BEGUN + 180
    say(shard, _judgement(Said.EXCUSED, 1, _at(_BEGUN + 2), until_us=_at(end)))
    for day in range(_BEGUN + 2, end):
        _turn(shard, day)

    last = _novelty(shard, _odd(end, session="again"))
    for day in range(end, end + 90):
        _turn(shard, day)

    assert last == 0.0
    assert _novelty(shard, _odd(end + 91, session="later")) > 5.0


def test_peers_are_excused_until_the_verdict_ends():
    """A newcomer meets something new again once nobody excuses it, as long as it has faded."""
    shard = _begun()
    end = _BEGUN + 30
    say(shard, _judgement(Said.PEERS_EXCUSED, 1, _at(_BEGUN + 2), until_us=_at(end)))
    for day in range(_BEGUN + 2, end + 1):
        _turn(shard, day)

    assert _novelty(shard, _odd(end + 1, "newcomer", "again")) > 1.0


def test_a_verdict_whose_time_is_over_teaches_nothing():
    """Given for a week that lies behind the window, it changes nothing."""
    shard, untold = _begun(), _begun()
    say(shard, _judgement(Said.EXCUSED, 1, _at(_BEGUN - 9), until_us=_at(_BEGUN - 2)))

    for each in (shard, untold):
        _turn(each, _BEGUN + 2)

    _assert_same_baseline(_own(shard), _own(untold))


def test_unusual_totals_are_excused_too():
    """A large export that was fine is not as far off the next time."""
    config = small_config(learning={"suspicious_bits": 2.0, "quarantine_score": 20.0})
    shard = new_shard(config)
    feed(shard, [_usual(day) for day in range(_BEGUN)])
    large = dataclasses.replace(_usual(_BEGUN), session="odd", bytes=10**9)
    feed(shard, [large, _usual(_BEGUN + 1)])
    again = dataclasses.replace(large, session="again", ts_us=_at(_BEGUN + 3))
    before = float(_statistics(shard, again)[_BYTES])
    say(shard, _judgement(Said.EXCUSED, 1, _at(_BEGUN + 2)))

    _turn(shard, _BEGUN + 2)

    assert before > 10.0
    assert float(_statistics(shard, again)[_BYTES]) < 6.0


def test_a_true_positive_is_taken_back():
    """What a session of little weight had taught is gone, as if it had never ended."""
    lenient = small_config(learning={"suspicious_bits": 2.0, "quarantine_score": 120.0})
    shard, without = new_shard(lenient), new_shard(lenient)
    past = [_usual(day) for day in range(_BEGUN)]
    feed(without, [*past, _usual(_BEGUN + 1)])
    feed(shard, [*past, _odd(_BEGUN), _usual(_BEGUN + 1)])
    learnt = _own(shard)
    say(shard, _judgement(Said.CONFIRMED, 1, _at(_BEGUN + 2)))

    for each in (shard, without):
        _turn(each, _BEGUN + 2)

    assert len(learnt[0]) > len(_own(without)[0])
    _assert_same_baseline(_own(shard), _own(without))


def test_deciders_are_told_of_true_positives():
    """The session is named when the verdict takes effect, and again when it is taken back."""
    shard = _begun()
    say(shard, _judgement(Said.CONFIRMED, 1, _at(_BEGUN + 2)))
    struck = feed(shard, [_usual(_BEGUN + 2)])
    say(shard, _judgement(Said.UNDONE, 2, _at(_BEGUN + 3), undoes=1))
    restored = feed(shard, [_usual(_BEGUN + 3)])

    told = [
        (int(row["row"]), int(row["session"]), int(row["start_us"]))
        for records in [*struck, *restored]
        for row in records.rows
        if row["row"] <= STRUCK_ROW
    ]

    odd = _kept(shard)[0]
    named = (int(odd["key"]), int(odd["start_us"]))
    assert told == [(STRUCK_ROW, *named), (RESTORED_ROW, *named)]


def test_suspicious_sessions_after_a_true_positive_are_taken_back_too():
    """Whoever has the credential comes again: what was learnt a little is not learnt."""
    lenient = small_config(learning={"suspicious_bits": 2.0, "quarantine_score": 120.0})
    shard = new_shard(lenient)
    feed(shard, [*(_usual(day) for day in range(_BEGUN)), _odd(_BEGUN)])
    feed(shard, [_odd(_BEGUN + 1, session="later", action="drop"), _usual(_BEGUN + 2)])
    say(shard, _judgement(Said.CONFIRMED, 1, _at(_BEGUN + 3)))

    _turn(shard, _BEGUN + 3)

    assert _kept(shard)["taught"].tolist() == [0.0, 0.0]
    say(shard, _judgement(Said.UNDONE, 2, _at(_BEGUN + 4), undoes=1))
    _turn(shard, _BEGUN + 4)
    assert (_kept(shard)["taught"] > 0.0).all()


def test_a_confirmed_session_stays_out_for_good():
    """Neither time nor peers let it out of quarantine."""
    config = small_config(
        learning={"suspicious_bits": 2.0, "quarantine_score": 20.0, "quarantine_days": 5.0}
    )
    shard = _begun(config)
    say(shard, _judgement(Said.CONFIRMED, 1, _at(_BEGUN + 2)))

    for day in range(_BEGUN + 2, _BEGUN + 12):
        _turn(shard, day)

    assert int(shard.memory.counters[N_RELEASED]) == 0
    assert _novelty(shard, _odd(_BEGUN + 13, session="again")) > 20.0


@pytest.mark.parametrize("said", [Said.EXCUSED, Said.PEERS_EXCUSED, Said.CONFIRMED])
@pytest.mark.parametrize("score", [20.0, 120.0])
def test_an_undoing_restores_what_was(said, score):
    """Baseline and novelty are what they would be without the verdict."""
    config = small_config(learning={"suspicious_bits": 2.0, "quarantine_score": score})
    shard, untold = _begun(config), _begun(config)
    say(shard, _judgement(said, 1, _at(_BEGUN + 2)))
    say(shard, _judgement(Said.UNDONE, 2, _at(_BEGUN + 6), undoes=1))

    for day in range(_BEGUN + 2, _BEGUN + 8):
        for each in (shard, untold):
            _turn(each, day)

    _assert_same_baseline(_own(shard), _own(untold))
    agent = "bot" if said is not Said.PEERS_EXCUSED else "newcomer"
    again = _odd(_BEGUN + 9, agent, "again")
    assert _novelty(shard, again) == pytest.approx(_novelty(untold, again), rel=0.3)


def test_a_verdict_that_is_undone_in_the_same_window_changes_nothing():
    """Both take effect at one turn, in the order in which they were given."""
    shard, untold = _begun(), _begun()
    say(shard, _judgement(Said.UNDONE, 2, _at(_BEGUN + 2) + 1, undoes=1))
    say(shard, _judgement(Said.EXCUSED, 1, _at(_BEGUN + 2)))

    for each in (shard, untold):
        _turn(each, _BEGUN + 3)

    _assert_same_baseline(_own(shard), _own(untold))


def test_the_same_verdict_takes_effect_once():
    """It may come again, before its time and after it."""
    once, often = _begun(), _begun()
    verdict = _judgement(Said.EXCUSED, 1, _at(_BEGUN + 2))

    for shard, times in ((once, 1), (often, 3)):
        for _ in range(times):
            say(shard, verdict)
        _turn(shard, _BEGUN + 2)
        for _ in range(times - 1):
            say(shard, verdict)
        _turn(shard, _BEGUN + 3)

    assert often.dump() == once.dump()


def test_a_session_that_is_still_open_is_judged_when_it_ends():
    """The verdict waits for what is not over yet."""
    shard = new_shard(_CONFIG)
    feed(shard, [_usual(day) for day in range(_BEGUN)])
    open_ = dataclasses.replace(_odd(_BEGUN), session_end=False)
    going_on = [dataclasses.replace(open_, ts_us=open_.ts_us + n * 1_200_000_000) for n in range(9)]
    feed(shard, going_on[:2])
    say(shard, _judgement(Said.EXCUSED, 1, _at(_BEGUN, 3)))

    feed(shard, going_on[2:])
    assert not len(_kept(shard))
    _turn(shard, _BEGUN + 1)

    assert _novelty(shard, _odd(_BEGUN + 2, session="again")) == 0.0
    assert int(shard.memory.counters[N_JUDGED]) == 1


def test_a_session_without_a_name_is_known_by_when_it_began():
    """Its case is called after the agent and that moment."""
    shard = new_shard(_CONFIG)
    past = [dataclasses.replace(_usual(day), session="") for day in range(_BEGUN)]
    feed(shard, [*past, _odd(_BEGUN, session=""), _odd(_BEGUN + 1, session="", action="drop")])
    verdict = _judgement(Said.EXCUSED, 1, _at(_BEGUN + 2), session="bot@then")
    say(shard, verdict._replace(start_ms=_at(_BEGUN, 2) // 1000))

    _turn(shard, _BEGUN + 2)

    assert [bool(row["verdict"]) for row in _kept(shard)] == [True, False]


def test_a_verdict_about_nothing_that_is_kept_is_counted():
    """A calm session, another agent's, or one that never was."""
    shard = _begun()
    for number, session in enumerate(["bot-3", "never"], 1):
        say(shard, _judgement(Said.CONFIRMED, number, 0, session=session))

    _turn(shard, _BEGUN + 2)

    assert int(shard.memory.counters[N_UNMATCHED]) == 2


def test_what_became_of_verdicts_is_known():
    """One that found its session, and those that came too late, were taken back or wait."""
    shard = _begun()
    early, now, later = (_at(_BEGUN + days) for days in (1, 2, 9))
    over = _judgement(Said.EXCUSED, 7, early, until_us=early + 1)
    say(
        shard, over, _judgement(Said.EXCUSED, 1, now), _judgement(Said.UNDONE, 2, now + 1, undoes=1),
        _judgement(Said.CONFIRMED, 3, now, session="never"),
        _judgement(Said.UNDONE, 4, now, undoes=99), _judgement(Said.CONFIRMED, 5, later),
        _judgement(Said.UNDONE, 6, now, undoes=8), _judgement(Said.EXCUSED, 8, later),
    )  # fmt: skip

    _turn(shard, _BEGUN + 3)

    assert shard.judging.fates() == {
        1: Fate.TOOK_EFFECT, 2: Fate.TOOK_EFFECT, 3: Fate.FOUND_NOTHING, 4: Fate.FOUND_NOTHING,
        5: Fate.WAITS, 6: Fate.TOOK_EFFECT, 7: Fate.FOUND_NOTHING, 8: Fate.FOUND_NOTHING,
    }  # fmt: skip


def _told(reported):
    """Return who has left quarantine: how, the agent's and the session's name, its start, when."""
    found = []
    for records in reported:
        for row, line in zip(records.rows, records.lines, strict=True):
            if row["row"] <= AGREED_ROW:
                event = parse_line(line, NOW_US)
                assert row["agent"] == _key(event.agent)
                times = int(row["start_us"]), int(row["ts_us"])
                found.append((int(row["row"]), event.agent, event.session, *times))
    return found


def test_names_are_known_of_who_is_open_or_in_quarantine_only():
    """Nothing else of a line stays; who is let go, or was calm, is forgotten, with its name."""
    odd = [_odd(_BEGUN, session=f"odd-{n}", resources=(f"payroll-{n}",)) for n in "ab"]
    shard = new_shard(_CONFIG)
    past = [_usual(day, agent) for day in range(_BEGUN) for agent in ("bot", "peer")]
    long = tuple(f"payroll-{n}" * 60 for n in range(8))
    open_ = dataclasses.replace(_odd(_BEGUN + 1), session_end=False, resources=long)
    feed(shard, [*past, *odd, open_])

    named = [line for *_, line in shard.judging.names.dump()]
    feed(shard, [_usual(_BEGUN + 40, "peer"), _usual(_BEGUN + 41, "peer")])

    sessions = [parse_line(line.encode(), NOW_US).session for line in named]
    assert sorted(sessions) == ["odd", "odd-a", "odd-b"]
    assert not any("payroll" in line for line in named)
    assert shard.judging.names.dump() == []


def test_no_name_is_kept_of_who_has_been_learnt_like_any_other():
    """It was reported, and a verdict may still come; but it will never leave quarantine."""
    shard = _begun(small_config(learning={"suspicious_bits": 19.0, "quarantine_score": 120.0}))

    assert len(_kept(shard)) == 1
    assert shard.judging.names.dump() == []


def test_quarantine_ends_with_time():
    """After so many days a session teaches as little as a suspicious one, and is forgotten."""
    days = 5
    config = small_config(
        learning={"suspicious_bits": 2.0, "quarantine_score": 20.0, "quarantine_days": float(days)}
    )
    shard = _begun(config)
    items = len(_own(shard)[0])
    early = feed(shard, [_usual(_BEGUN + days, "peer")])
    assert int(shard.memory.counters[N_RELEASED]) == 0

    told = _told(feed(shard, [_usual(_BEGUN + days + 1, "peer")]))

    assert _told(early) == []
    assert told == [(EXPIRED_ROW, "bot", "odd", _odd(_BEGUN).ts_us, _at(_BEGUN + days + 1))]
    assert int(shard.memory.counters[N_RELEASED]) == 1
    assert len(_own(shard)[0]) > items
    assert not len(_kept(shard))
    assert _novelty(shard, _odd(_BEGUN + days + 2, session="again")) > 5.0  # three make it known


def test_quarantine_ends_when_peers_come_to_do_the_same():
    """A roll-out: what was one agent's oddity is usual for its group."""
    config = small_config(
        learning={"suspicious_bits": 4.5, "quarantine_score": 27.5, "agreement": 4.0}
    )
    peers = [f"peer-{number}" for number in range(6)]
    shard = _begun(config, ("bot", *peers))
    assert _kept(shard)["units"].tolist().count(0) == 1
    say(shard, *(_judgement(Said.EXCUSED, n, 0, peer, "new") for n, peer in enumerate(peers, 1)))

    told = []
    for day in range(_BEGUN + 2, _BEGUN + 9):
        odd = [_odd(day, peer, "new" if day == _BEGUN + 2 else f"n{day}") for peer in peers]
        told += _told(feed(shard, odd))

    assert (AGREED_ROW, "bot", "odd", _odd(_BEGUN).ts_us) in [each[:-1] for each in told]
    assert len(told) == int(shard.memory.counters[N_RELEASED])
    assert int(shard.memory.counters[N_RELEASED]) >= 1
    assert _novelty(shard, _odd(_BEGUN + 9, session="again")) == 0.0


def test_kept_sessions_of_an_agent_are_bounded():
    """The oldest go, and what might still have been learnt of them is counted."""
    shard = _begun(small_config(learning={"suspicious_bits": 0.1, "quarantine_score": 0.5}))
    many = [
        dataclasses.replace(
            _odd(_BEGUN + 2, session=f"odd-{number}"),
            ts_us=_at(_BEGUN + 2, number),
            resources=tuple(f"r-{number}-{place}" for place in range(number + 2)),
        )
        for number in range(KEPT_OF_AGENT_MAX + 9)
    ]

    feed(shard, [*many, _usual(_BEGUN + 4, "peer")])

    ours = _kept(shard)
    assert len(ours) == KEPT_OF_AGENT_MAX
    assert ours["last_us"].min() > _odd(_BEGUN).ts_us
    assert int(shard.memory.counters[N_UNKEPT]) > 0


def test_what_is_kept_no_longer_gives_its_pages_back():
    """Sessions come and go, and the pages they took are used again."""
    shard = _begun()
    sizes = []
    for first in range(0, 210, 30):
        feed(
            shard,
            [_odd(_BEGUN + 2 + first + day, session=f"odd-{first + day}") for day in range(30)],
        )
        sizes.append(int(shard.memory.pages[0]["item"][WAYS - 1]))

    assert sizes[-1] == sizes[3]
    assert int(shard.memory.counters[KEPT_USED]) <= 2 * KEPT_OF_AGENT_MAX + 32
