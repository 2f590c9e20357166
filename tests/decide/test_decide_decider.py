"""The decider: tenants apart, windows in step, and everything in a dump."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray import blob
from astray.baseline.buffers import RECORD
from astray.baseline.layout import AGE_CLASSES
from astray.baseline.records import Finding, OpenSessions, Records
from astray.config import load_config
from astray.decide.decider import TENANTS_MAX, Decider
from astray.decide.decision import Level, Withheld
from astray.errors import StateError
from astray.events import Event, encode_event
from made import DAY_US, HOUR_US, START_US, ended_rows, records_of, row_of

YOUNG = 0


def config_of(shards=1, *policies, **default):
    """Return a configuration of some shards with low limits, and changes to its default policy."""
    low = {"alert": {"score": 3.0}, "suspend": {"score": 8.0}, "mode": "enforce"}
    return load_config(
        overrides={
            "events": {"shards": shards},
            "default_policy": {**low, **default},
            "policy": list(policies),
        }
    )


def event_of(number, hours=0.0, tenant="", **changes):
    """Return an event of a session of its own."""
    fields = {"agent": f"bot-{number}", "action": "read", "session": "s", "tenant": tenant}
    return Event(ts_us=START_US + int(hours * HOUR_US), **{**fields, **changes})


def stands(event, level, **values):
    """Return a session as it stands at an event, all its statistics at a level."""
    return event, row_of(event, statistic=level, **values)


def ends(event, level, **values):
    """Return a session as it ended."""
    return stands(event, level, ended=True, **values)


def window(hour, *sessions, shard=0):
    """Return what a shard reports in an hour."""
    return records_of(shard, START_US + hour * HOUR_US, *sessions)


def past(count, hour=0, level=1.0, tenant=""):
    """Return that many ended sessions."""
    return window(hour, *(ends(event_of(f"past-{n}", hour, tenant), level) for n in range(count)))


def scores_of(ruling):
    """Return the n of every session that was ranked."""
    return [n for scored in ruling.scored for n in scored["n"].tolist()]


def test_a_session_is_ranked_among_those_that_ended_before_its_window():
    """Nine have ended: the tenth, odder than all, is 1 in 10; and its score 20."""
    decider = Decider(config_of())
    odd = stands(event_of(1), 5.0)

    during = decider.decide([past(9), window(0, odd)])
    after = decider.decide([window(1, odd)])

    assert scores_of(during) == [1.0] * 10
    assert scores_of(after) == [10.0]
    (decision,) = after.decisions
    assert (decision.level, decision.score, decision.n) == (Level.SUSPEND, 20.0, 10.0)


def test_what_was_ranked_is_told_whole():
    """Every session, live or ended, with what it stood at and whether its n was counted."""
    decider = Decider(config_of())
    event = event_of(1, 24.5, event_id="e")
    old = past(9)
    old.rows["start_us"] = START_US + np.arange(9) * (DAY_US // 8)
    decider.decide([old])

    ruling = decider.decide(
        [window(24, stands(event, 5.0, rows=7), ends(event, 5.0), ends(event, 0.0))]
    )

    (scored,) = ruling.scored
    assert scored["n"].tolist() == [pytest.approx(100.0), pytest.approx(100.0), 1.0]
    assert scored["score"].tolist() == [pytest.approx(40.0), pytest.approx(40.0), 0.0]
    assert scored["certified"].tolist() == [False, False, True]
    assert scored["live"].tolist() == [True, False, False]
    assert scored["rows"].tolist() == [7, 1, 1]
    assert scored["ts_us"].tolist() == scored["start_us"].tolist() == [event.ts_us] * 3
    assert ruling.lines == [encode_event(event), b"", b""]
    # The limit that was reached, 8, lies below the 20 that were counted.
    assert [decision.certified for decision in ruling.decisions] == [True]


def test_what_has_not_been_counted_suspends_nobody():
    """Of 1 in 100, ten are counted: enough for an alert, not for the suspension at 1 in 32."""
    decider = Decider(config_of(suspend={"score": 30.0}))
    old = past(9)
    old.rows["start_us"] = START_US + np.arange(9) * (DAY_US // 8)
    decider.decide([old])

    (decision,) = decider.decide([window(24, stands(event_of(1, 24), 5.0))]).decisions

    assert (decision.level, decision.withheld) == (Level.WITHHELD, Withheld.UNCERTIFIED)
    assert (decision.certified, decision.limit) == (False, 30.0)


def test_what_was_found_belongs_to_its_session():
    """Where tenants share a report, each decision has the findings and line of its own."""
    decider = Decider(config_of())
    decider.decide([past(9, tenant="acme"), past(9, tenant="umbrella")])
    shown = [
        event_of(number, 1, tenant, action=f"a{number}")
        for number, tenant in enumerate(["acme", "umbrella", "acme"])
    ]
    report = window(1, *(stands(event, 5.0) for event in shown))
    found = tuple((Finding(7.5, 0, 2, -1, 0.01, 0.02, 0, encode_event(event)),) for event in shown)

    ruling = decider.decide([Records(0, report.window_us, report.rows, report.lines, found)])

    told = {decision.agent: decision.evidence[0].item for decision in ruling.decisions}
    assert told == {"bot-0": "a0", "bot-1": "a1", "bot-2": "a2"}
    assert sorted(ruling.lines) == sorted(report.lines)


def test_a_score_is_at_most_a_hundred():
    """However rare a session is, nobody claims more than 1 in 100,000."""
    decider = Decider(config_of())
    rows = ended_rows([1.0] * 20_000)
    rows["start_us"] = np.linspace(START_US, START_US + DAY_US, len(rows))
    decider.decide([Records(0, START_US, rows, (b"",) * len(rows), ((),) * len(rows))])

    (scored,) = decider.decide([window(24, stands(event_of(1, 24), 50.0))]).scored

    assert scored["n"].tolist() == [pytest.approx(200_010.0)]
    assert scored["score"].tolist() == [100.0]


def test_tenants_do_not_see_each_other():
    """A session that is odd for one tenant is ranked by its own tenant's past alone."""
    decider = Decider(config_of())
    decider.decide([past(9, tenant="acme"), past(4, tenant="umbrella"), past(3, tenant="")])

    ruling = decider.decide(
        [
            window(
                1,
                *(
                    stands(event_of(1, 1, tenant), 5.0)
                    for tenant in ("acme", "umbrella", "", "new")
                ),
            )
        ]
    )

    assert scores_of(ruling) == [10.0, 5.0, 4.0, 1.0]
    assert [decision.tenant for decision in ruling.decisions] == ["acme", "umbrella", ""]


def test_records_ahead_of_a_slower_shard_wait():
    """Nothing of a window is ruled before every shard has reached it."""
    decider = Decider(config_of(2))
    odd = stands(event_of(1, 1), 5.0)

    first = decider.decide([past(9), window(1, odd)])
    second = decider.decide([window(0, ends(event_of(2), 1.0), shard=1)])
    third = decider.decide([window(1, shard=1)])

    assert (scores_of(first), len(scores_of(second))) == ([], 10)
    assert scores_of(third) == [11.0]


def test_records_that_waited_are_ruled_in_their_shards_order():
    """A session that ended and began anew is not taken for one that began and ended."""
    decider = Decider(config_of(2))
    odd, over = stands(event_of(1, 1), 5.0), ends(event_of(1, 1), 5.0)
    decider.decide([past(9), window(0, shard=1), window(1, odd), window(1, over, odd)])

    ruling = decider.decide([window(1, shard=1)])

    assert len(ruling.decisions) == 2
    assert len(decider.rules.dump()) == 1


def test_a_window_that_one_shard_had_is_not_skipped():
    """Between two windows that all shards report lies one that only a single shard does."""
    decider = Decider(config_of(2))
    records = [past(4), past(5, 1), window(2, stands(event_of(1, 2), 5.0))]

    ruling = decider.decide([*records, window(0, shard=1), window(2, shard=1)])

    assert scores_of(ruling)[-1] == 10.0


def test_a_limit_is_found_below_every_score():
    """A session beyond a hard limit is decided though it is as usual as can be."""
    strict = {"name": "strict", "match": {"agents": ["bot-2"]}, "limits": {"events_per_session": 5}}
    decider = Decider(config_of(1, strict))

    ruling = decider.decide(
        [window(0, *(stands(event_of(n), 0.0, events=9, age=YOUNG) for n in (1, 2, 3)))]
    )

    assert [(d.agent, d.reason) for d in ruling.decisions] == [("bot-2", "events_per_session")]


def test_an_ended_session_makes_way_for_the_next_of_its_name():
    """In the order of the records, also within one of them; its end itself decides nothing."""
    decider = Decider(config_of())
    decider.decide([past(9)])
    odd, over = stands(event_of(1, 1), 5.0), ends(event_of(1, 1), 5.0)

    ruling = decider.decide([window(1, odd, odd, over, odd, over)])

    assert [decision.id for decision in ruling.decisions] == [ruling.decisions[0].id] * 2
    assert decider.rules.dump() == []


def test_the_longest_silent_tenant_is_forgotten():
    """References are bounded; whoever was not heard of for the most windows starts anew."""
    decider = Decider(config_of())
    decider.decide([past(9, tenant="heard")])
    decider.decide([past(9, 1, tenant="silent")])
    decider.decide([past(1, 2, tenant="heard")])
    rest = [ends(event_of(1, 3, f"t{n}"), 1.0) for n in range(TENANTS_MAX - 1)]

    decider.decide([window(3, *rest)])
    ruling = decider.decide(
        [window(4, *(stands(event_of(1, 4, t), 5.0) for t in ("heard", "silent")))]
    )

    assert scores_of(ruling) == [11.0, 1.0]
    assert len(decider._references) == len(decider._used_us) == TENANTS_MAX


_OPEN = st.tuples(*[st.integers(0, 3)] * AGE_CLASSES)


def entered(records, by_age):
    """Return records of a shard that found so many of each tenant's sessions open."""
    tenants = np.unique(records.rows["tenant"]).tolist()
    still_open = tuple(OpenSessions(tenant, by_age) for tenant in tenants)
    return dataclasses.replace(records, open_sessions=still_open)


def _sessions(draw, number, hour):
    """Draw what one agent's session does within an hour: it is reported, and may end."""
    event = event_of(number, hour, draw(st.sampled_from(["", "acme"])))
    levels = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0]), max_size=2))
    age = draw(st.sampled_from([0, 2]))
    found = [stands(event, level, age=age) for level in sorted(levels)]
    if draw(st.integers(0, 3)):
        found.append(ends(event, max(levels, default=1.0), age=age))
    return found


@st.composite
def shards_reports(draw, shards=3, hours=4):
    """Draw, per shard, what it reports hour by hour; it need not report of every hour."""
    reports = []
    for shard in range(shards):
        of_shard = []
        for hour in sorted(draw(st.sets(st.integers(0, hours - 1)))):
            for _ in range(draw(st.integers(1, 2))):
                sessions = []
                for agent in range(draw(st.integers(0, 3))):
                    sessions += _sessions(draw, f"{shard}-{agent}", hour)
                reported = window(hour, *sessions, shard=shard)
                is_first = not of_shard or of_shard[-1].window_us < reported.window_us
                of_shard.append(entered(reported, draw(_OPEN)) if is_first else reported)
        reports.append(of_shard)
    return reports


def interleaved(reports, random):
    """Return what the shards report in some order; each shard's own stays."""
    waiting, order = [list(of_shard) for of_shard in reports if of_shard], []
    while waiting:
        of_shard = random.choice(waiting)
        order.append(of_shard.pop(0))
        waiting = [some for some in waiting if some]
    return order


def ruled(decider, order, random=None):
    """Return decisions and ranked sessions in an order of their own, and the state."""
    rulings = []
    while order:
        size = random.randint(1, 4) if random else len(order)
        rulings.append(decider.decide(order[:size]))
        order = order[size:]
    decisions = [decision for ruling in rulings for decision in ruling.decisions]
    ranked = [str(row) for ruling in rulings for scored in ruling.scored for row in scored]
    return sorted(decisions, key=repr), sorted(ranked), decider.dump()


@settings(max_examples=60)  # each example drives two deciders over four windows
@given(shards_reports(), st.randoms())
def test_the_order_in_which_shards_report_does_not_matter(reports, random):
    """Whichever shard is ahead, and however its reports are batched: the same, to the byte."""
    config = config_of(3)
    by_shard = [records for of_shard in reports for records in of_shard]

    straight = ruled(Decider(config), by_shard)
    shuffled = ruled(Decider(config), interleaved(reports, random), random)

    assert straight == shuffled


@settings(max_examples=60)  # each example drives two deciders over four windows
@given(shards_reports(), st.randoms(), st.integers(0, 30))
def test_a_dump_in_the_middle_continues_exactly(reports, random, cut):
    """With records that wait, open sessions and a breaker half full."""
    config = config_of(3, suspensions_per_hour_max=1)
    order = interleaved(reports, random)
    live = Decider(config)
    live.decide(order[:cut])

    restored = Decider.load(live.dump(), config)

    assert restored.dump() == live.dump()
    for records in order[cut:]:
        assert ruled(restored, [records]) == ruled(live, [records])


@pytest.mark.parametrize(
    ("mode", "level"), [("enforce", Level.SUSPEND), ("observe", Level.WITHHELD)]
)
def test_a_dump_keeps_what_was_decided_and_counted(mode, level):
    """After a restart nobody is suspended twice, and the hour is as full as it was."""
    config = config_of(suspensions_per_hour_max=1, mode=mode)
    live = Decider(config)
    first = live.decide([past(9), window(1, stands(event_of(1, 1), 5.0))])

    restored = Decider.load(live.dump(), config)
    again = restored.decide([window(1, *(stands(event_of(n, 1), 5.0) for n in (1, 2)))])

    assert [decision.level for decision in first.decisions] == [level]
    assert [(d.agent, d.withheld) for d in again.decisions] == [("bot-2", Withheld.BREAKER)]


def test_a_dump_keeps_who_was_silent():
    """The tenant that is forgotten after a restart is the one that would have been."""
    live = Decider(config_of())
    live.decide([past(1, tenant="silent"), past(1, 1, tenant="heard")])
    rest = [ends(event_of(1, 2, f"t{n}"), 1.0) for n in range(TENANTS_MAX - 1)]

    restored = Decider.load(live.dump(), config_of())
    for decider in (live, restored):
        decider.decide([window(2, *rest)])

    assert restored.dump() == live.dump()


def test_findings_and_lines_of_records_that_wait_are_kept():
    """What explains a session outlives a restart, to the byte."""
    config = config_of(2)
    live, event = Decider(config), event_of(1, 1, agent="größe\u2028")
    found = Finding(7.5, 0, 2, -1, 0.01, 0.02, 0, encode_event(event))
    row = np.array([row_of(event, statistic=5.0)], RECORD)
    live.decide([past(9), Records(0, START_US + HOUR_US, row, (encode_event(event),), ((found,),))])

    restored = Decider.load(live.dump(), config)
    others = [window(0, shard=1), window(1, shard=1)]

    (decision,) = restored.decide(others).decisions
    assert decision == live.decide(others).decisions[0]
    assert decision.evidence[0].sentence.startswith(
        "größe\u2028 did read, which nobody in the fleet"
    )


def test_a_foreign_or_damaged_state_is_refused():
    """A sentence says what is wrong with it."""
    good = bytearray(Decider(config_of()).dump())
    good[-1] ^= 1

    with pytest.raises(StateError, match=r"^the decider state is damaged: its checksum"):
        Decider.load(bytes(good), config_of())
    with pytest.raises(StateError, match=r"^expected decider state, found reference state$"):
        Decider.load(blob.pack("reference", {}, {}), config_of())
