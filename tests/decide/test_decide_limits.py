"""Hard limits: each at its value and beyond it, for whom they hold, and what is said of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.buffers import RECORD
from astray.baseline.layout import SENSITIVE_BIT
from astray.config import POLICIES_MAX, load_config
from astray.decide.decision import Level, Withheld
from astray.decide.limits import (
    Exceeded,
    exceeded,
    limit_evidence,
    lowest_limits,
    possibly_beyond,
    tag_patterns,
)
from astray.decide.rules import Rules
from astray.events import Event
from made import START_US, candidate_of, row_of

BOT = Event(ts_us=START_US, agent="billing-bot", action="read", session="s1", event_id="e1")
YOUNG, SECOND_US = 0, 1_000_000


def config_of(*policies, **limits):
    """Return a configuration that enforces, with these hard limits in its default policy."""
    default = {"mode": "enforce", "limits": limits}
    return load_config(overrides={"default_policy": default, "policy": list(policies)})


def decided(config, event=BOT, score=0.0, **values):
    """Return what is decided of a session that stands at an event with these totals."""
    return Rules(config).decide(candidate_of(event, score, **values))


AT_AND_BEYOND = [
    pytest.param({"events_per_minute": 600}, {"minute_events": 600}, {"minute_events": 601}, id="events per minute"),
    pytest.param({"bytes_per_session": 10e9}, {"bytes": 10e9}, {"bytes": 10e9 + 1}, id="bytes"),
    pytest.param({"events_per_session": 50}, {"events": 50}, {"events": 51}, id="events"),
    pytest.param({"session_length_s": 90.0}, {"ts_us": START_US + 90 * SECOND_US}, {"ts_us": START_US + 90 * SECOND_US + 1}, id="length"),
    pytest.param({"denied_share": 0.3}, {"events": 10, "denials": 3}, {"events": 10, "denials": 4}, id="denied"),
    pytest.param({"denied_share": 0.3}, {"events": 9, "denials": 9}, {"events": 10, "denials": 9}, id="denied of ten at least"),
    pytest.param({"forbidden_actions": ["iam.*"]}, {"tags": 0b10}, {"tags": 0b01}, id="forbidden action"),
    pytest.param({"forbidden_resources": ["db://*"]}, {"tags": 0b100}, {"tags": 0b10}, id="forbidden resource"),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "at", "beyond"), AT_AND_BEYOND)
def test_a_limit_holds_beyond_its_value(limits, at, beyond):
    """Exactly at it a session may stay; beyond it is suspended, however young and usual."""
    config = config_of(**limits)
    (name,) = limits

    assert name.startswith("forbidden") or decided(config, **at, age=YOUNG) is None
    decision = decided(config, **beyond, age=YOUNG)

    assert (decision.level, decision.withheld) == (Level.SUSPEND, Withheld.NOTHING)
    assert (decision.reason, decision.certified, decision.score) == (name, True, 0.0)
    assert [reason.share for reason in decision.evidence] == [1.0]


@pytest.mark.parametrize(("limits", "at", "beyond"), AT_AND_BEYOND)
def test_a_limit_that_only_alerts(limits, at, beyond):
    """With then = "alert" the session goes on."""
    decision = decided(config_of(then="alert", **limits), **beyond)

    assert (decision.level, decision.reason) == (Level.ALERT, next(iter(limits)))


@pytest.mark.parametrize(("limits", "at", "beyond"), AT_AND_BEYOND)
def test_without_a_limit_nothing_is_beyond_it(limits, at, beyond):
    """What is not set does not apply."""
    if "tags" not in beyond:
        assert decided(config_of(), **beyond) is None


@pytest.mark.parametrize(("limits", "at", "beyond"), AT_AND_BEYOND)
def test_no_session_beyond_a_limit_is_passed_over(limits, at, beyond):
    """The quick look at all sessions finds each that a policy's limit would find."""
    lowest = lowest_limits(config_of({"name": "tight", "limits": limits}))

    found = possibly_beyond(np.array([row_of(BOT, **at), row_of(BOT, **beyond)], RECORD), lowest)

    assert found.tolist() == ["tags" in at, True]


def test_what_a_score_asks_for_is_not_lost_to_a_limit_that_alerts():
    """Beyond a limit that alerts, and at the suspension score: the score has the last word."""
    config = config_of(then="alert", events_per_session=5)

    suspend = decided(config, score=85, events=9)
    alert = decided(config, score=65, events=9)

    assert (suspend.level, suspend.reason) == (Level.SUSPEND, "score")
    assert (alert.level, alert.reason) == (Level.ALERT, "events_per_session")


def test_beyond_a_limit_a_young_agent_with_an_odd_session_is_suspended():
    """The limit decides, not the score, of which nothing is certified."""
    decision = decided(
        config_of(events_per_session=5), score=90, certified_score=0, age=YOUNG, events=9
    )

    assert (decision.level, decision.reason, decision.limit) == (
        Level.SUSPEND,
        "events_per_session",
        5.0,
    )


@pytest.mark.parametrize(
    ("default", "why"),
    [
        ({"mode": "observe"}, Withheld.OBSERVE),
        ({"never_suspend": ["billing-*"]}, Withheld.NEVER_SUSPEND),
        ({"suspensions_per_hour_max": 0}, Withheld.BREAKER),
    ],
    ids=["observed", "on the list", "breaker"],
)
def test_what_withholds_a_suspension_withholds_it_beyond_a_limit_too(default, why):
    """A hard limit passes by neither the mode nor the list nor the breaker."""
    default = {"mode": "enforce", "limits": {"events_per_session": 5}, **default}
    config = load_config(overrides={"default_policy": default})

    decision = decided(config, events=9)

    assert (decision.level, decision.withheld) == (Level.WITHHELD, why)


def test_a_limit_of_one_policy_does_not_touch_agents_of_another():
    """Neither its values nor what it forbids."""
    strict = {
        "name": "strict",
        "match": {"agents": ["pay-*"]},
        "limits": {"events_per_session": 5, "forbidden_actions": ["iam.*"]},
    }
    config = config_of(strict, forbidden_resources=["db://*"])
    pay = Event(ts_us=START_US, agent="pay-1", action="iam.add", session="s")

    assert decided(config, events=9) is None
    assert decided(config, tags=0b01) is None
    assert decided(config, tags=0b10) is None  # both are the strict policy's
    assert decided(config, pay, events=9).reason == "events_per_session"
    assert decided(config, pay, tags=0b01).reason == "forbidden_actions"
    assert decided(config, pay, tags=0b10).reason == "forbidden_resources"  # inherited
    assert decided(config, tags=0b1000).reason == "forbidden_resources"
    assert decided(config, pay, tags=0b1000) is None


def test_tags_have_room_for_the_last_policy():
    """The default policy's tags are the highest two, where there are as many policies."""
    policies = [
        {"name": f"p{number}", "match": {"agents": ["x"]}} for number in range(POLICIES_MAX - 1)
    ]
    config = config_of(*policies, forbidden_actions=["iam.*"], forbidden_resources=["db"])

    patterns = tag_patterns(config)
    decision = decided(config, tags=1 << patterns["resource"][-1][0])

    assert patterns["resource"][-1][0] == SENSITIVE_BIT - 2
    assert decision.reason == "forbidden_resources"


def test_tag_patterns_are_those_of_the_policies_that_forbid():
    """Two bits a policy, in the order of the policies: actions, resources."""
    config = config_of(
        {"name": "a", "limits": {"forbidden_resources": []}},
        forbidden_actions=["iam.*", "sts.*"],
        forbidden_resources=["db://*"],
    )

    patterns = tag_patterns(config)

    assert [bit for bit, _ in patterns["action"]] == [0, 2]
    assert [bit for bit, _ in patterns["resource"]] == [3]
    matches = {
        text: bool(patterns["action"][0][1].match(text))
        for text in ("iam.add", "sts.get", "xiam.add", "db://x")
    }
    assert matches == {"iam.add": True, "sts.get": True, "xiam.add": False, "db://x": False}


def test_the_hot_loop_is_told_the_lowest_limits():
    """Whatever a policy sets, the loop reports who may be beyond it; what none sets is no limit."""
    config = config_of(
        {"name": "a", "limits": {"events_per_session": 5, "session_length_s": 60}},
        events_per_session=9,
        denied_share=0.25,
    )

    assert lowest_limits(config) == {
        "limit_minute": np.inf,
        "limit_bytes": np.inf,
        "limit_events": 5,
        "limit_denied": 0.25,
        "limit_denied_events": 10,
        "limit_length_us": 60_000_000,
    }
    without = lowest_limits(config_of())
    assert (without["limit_length_us"], without["limit_denied"]) == (2**62, 1.0)


def test_a_session_without_a_counted_event_is_beyond_nothing():
    """Events that count for none make no share of denials, and no warning."""
    rows = np.array([row_of(BOT, events=0)], RECORD)

    assert possibly_beyond(rows, lowest_limits(config_of())).tolist() == [False]
    assert exceeded(config_of(denied_share=0.1).default_policy.limits, 0, rows[0]) is None


totals = st.fixed_dictionaries(
    {
        "minute_events": st.sampled_from([0.0, 5.0, 6.0]),
        "bytes": st.sampled_from([0.0, 100.0, 101.0]),
        "events": st.integers(1, 40).map(float),
        "denials": st.integers(0, 40).map(float),
        "tags": st.integers(0, 15),
        "ts_us": st.sampled_from([START_US, START_US + SECOND_US, START_US + SECOND_US + 1]),
    }
)
limit_values = st.fixed_dictionaries(
    {},
    optional={
        "events_per_minute": st.just(5.0),
        "bytes_per_session": st.just(100.0),
        "events_per_session": st.integers(1, 40).map(float),
        "session_length_s": st.just(1.0),
        "denied_share": st.floats(0.01, 0.99),
        "forbidden_actions": st.just(["x"]),
    },
)


@given(totals, limit_values, limit_values)
def test_whoever_is_beyond_a_limit_is_looked_at(values, own, default):
    """The quick look over all policies passes over nobody whom his own policy limits."""
    config = config_of({"name": "own", "limits": own}, **default)
    rows = np.array([row_of(BOT, **values)], RECORD)

    beyond = [
        exceeded(policy.limits, place, rows[0]) for place, policy in enumerate(config.policies)
    ]

    assert possibly_beyond(rows, lowest_limits(config))[0] or beyond == [None, None]


FORBIDDEN = Event(ts_us=START_US, agent="bot", action="iam.add", session="s", event_id="e7", resources=("db://a", "x", "db://b"))  # fmt: skip
MANY = Event(ts_us=START_US, agent="bot", action="read", session="s", resources=tuple(f"db://{n}" for n in range(32)))  # fmt: skip


@pytest.mark.parametrize(
    ("beyond", "event", "sentence"),
    [
        (Exceeded("events_per_minute", 601, 600), BOT, "billing-bot had 601 events within a minute; its policy allows at most 600 events"),
        (Exceeded("events_per_minute", 2, 1), BOT, "billing-bot had 2 events within a minute; its policy allows at most 1 event"),
        (Exceeded("bytes_per_session", 12.34e9, 1e10), BOT, "billing-bot moved 12.3 GB in this session; its policy allows at most 10 GB"),
        (Exceeded("bytes_per_session", 1e10 + 1, 1e10), BOT, "billing-bot moved a little more than 10 GB in this session; its policy allows at most 10 GB"),
        (Exceeded("events_per_session", 5001, 5000), BOT, "billing-bot had 5,001 events in this session; its policy allows at most 5,000 events"),
        (Exceeded("session_length_s", 90_061, 86_400), BOT, "billing-bot has kept this session open for 25 h; its policy allows at most 24 h"),
        (Exceeded("denied_share", 0.6, 0.5), BOT, "billing-bot was denied 60 % of the events of this session; its policy allows at most 50 %"),
        (Exceeded("forbidden_actions", 0, 0), FORBIDDEN, "bot did iam.add, which its policy forbids"),
        (Exceeded("forbidden_resources", 0, 0), FORBIDDEN, "bot touched db://a, db://b, which its policy forbids"),
        (Exceeded("forbidden_resources", 0, 0), MANY, "bot touched db://0, db://1, db://2 and 29 others, which its policy forbids"),
        (Exceeded("forbidden_actions", 0, 0), MANY, "bot did something earlier in this session, which its policy forbids"),
        (Exceeded("forbidden_resources", 0, 0), BOT, "billing-bot touched something earlier in this session, which its policy forbids"),
    ],
    ids=lambda value: value.name if isinstance(value, Exceeded) else "",
)  # fmt: skip
def test_a_limit_reads_well(beyond, event, sentence):
    """Amounts have units, and one event is not two."""
    limits = config_of(
        forbidden_actions=["iam.*"], forbidden_resources=["db://*"]
    ).default_policy.limits

    told = limit_evidence(beyond, limits, event)

    assert told.sentence == sentence
    assert (told.share, told.channel, told.level) == (1.0, beyond.name, "policy")
    assert told.event_ids == ((event.event_id,) if event.event_id else ())
