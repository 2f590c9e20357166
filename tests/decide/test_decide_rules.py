"""One session against its policy: levels, what withholds a suspension, ids, what is remembered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.config import load_config
from astray.decide.decision import Level, Withheld, case_id, decision_id
from astray.decide.rules import _FORGOTTEN_AT_ONCE, BREAKER_TENANTS_MAX, OPEN_MAX, Breaker, Rules
from astray.events import Event
from made import HOUR_US, START_US, candidate_of

BOT = Event(ts_us=START_US, agent="billing-bot", action="read", session="s1", event_id="e1")
YOUNG, GROWN = 0, 1


def rules_of(*policies, **default):
    """Return the rules of a configuration that enforces, with changes to its default policy."""
    default = {"mode": "enforce", **default}
    return Rules(load_config(overrides={"default_policy": default, "policy": list(policies)}))


def levels_of(rules, *candidates):
    """Return what is decided of candidates, one after the other."""
    decisions = [rules.decide(candidate) for candidate in candidates]
    return [decision and (decision.level, decision.withheld) for decision in decisions]


def session(number, **changes):
    """Return an event of a session of its own."""
    return Event(
        **{"ts_us": START_US, "agent": f"bot-{number}", "action": "a", "session": "s", **changes}
    )


ALERT = (Level.ALERT, Withheld.NOTHING)
SUSPEND = (Level.SUSPEND, Withheld.NOTHING)


def withheld(why):
    """Return what is decided of a session that something keeps from being suspended."""
    return (Level.WITHHELD, why)


@pytest.mark.parametrize(
    ("score", "decided"),
    [
        (59.999, None),
        (60.0, ALERT),
        (79.999, ALERT),
        (80.0, SUSPEND),
        (100.0, SUSPEND),
    ],
    ids=["below alert", "at alert", "below suspend", "at suspend", "highest"],
)
def test_a_limit_is_reached_at_its_score(score, decided):
    """From the limit on, not beyond it."""
    rules = rules_of()

    assert levels_of(rules, candidate_of(BOT, score)) == [decided]


@pytest.mark.parametrize(
    ("default", "event", "given", "decided"),
    [
        pytest.param({"mode": "observe"}, {}, {}, withheld(Withheld.OBSERVE), id="observed only"),
        pytest.param({"never_suspend": ["billing-*"]}, {}, {}, withheld(Withheld.NEVER_SUSPEND), id="on the list"),
        pytest.param({"never_suspend": ["billing-*"], "mode": "observe"}, {}, {}, withheld(Withheld.NEVER_SUSPEND), id="on the list, and observed"),
        pytest.param({"never_suspend": ["bot"]}, {}, {}, SUSPEND, id="another is on the list"),
        pytest.param({}, {}, {"age": YOUNG}, withheld(Withheld.YOUNG), id="young"),
        pytest.param({}, {}, {"age": GROWN}, SUSPEND, id="no longer young"),
        pytest.param({"enforce_uncertified": True}, {}, {"age": YOUNG}, withheld(Withheld.YOUNG), id="young, and uncertified is enforced"),
        pytest.param({}, {}, {"certified_score": 79.9}, withheld(Withheld.UNCERTIFIED), id="counted up to below the limit"),
        pytest.param({}, {}, {"certified_score": 80.0}, SUSPEND, id="counted up to the limit"),
        pytest.param({"enforce_uncertified": True}, {}, {"certified_score": 0.0}, SUSPEND, id="uncertified is enforced"),
        pytest.param({"suspensions_per_hour_max": 0}, {}, {}, withheld(Withheld.BREAKER), id="breaker"),
        pytest.param({"mode": "observe"}, {}, {"age": YOUNG}, withheld(Withheld.YOUNG), id="young, and observed"),
        pytest.param({"mode": "observe"}, {}, {"certified_score": 79.9}, withheld(Withheld.UNCERTIFIED), id="uncertified, and observed"),
        pytest.param({"mode": "observe", "enforce_uncertified": True}, {}, {"certified_score": 0.0}, withheld(Withheld.OBSERVE), id="uncertified is enforced, but observed"),
        pytest.param({"mode": "observe", "suspensions_per_hour_max": 0}, {}, {}, withheld(Withheld.BREAKER), id="breaker, and observed"),
    ],
)  # fmt: skip
def test_what_keeps_a_session_from_being_suspended(default, event, given, decided):
    """A session over the suspension limit is suspended unless something forbids it."""
    rules = rules_of(**default)

    assert levels_of(rules, candidate_of(BOT, 85.0, **given)) == [decided]


def test_whether_an_alert_is_certified_is_told():
    """Certified is what has been counted up to the limit that was reached."""
    for certified_score, certified in ((60.0, True), (59.9, False)):
        decision = rules_of().decide(candidate_of(BOT, 65.0, certified_score=certified_score))
        assert (decision.certified, decision.limit) == (certified, 60.0)


def test_levels_only_rise_and_each_is_decided_once():
    """However often a session is reported, there is one decision per level."""
    rules = rules_of(enforce_uncertified=False)
    scores = [(61, 61), (70, 70), (85, 60), (90, 70), (85, 85), (99, 99), (61, 61)]

    decided = levels_of(
        rules, *(candidate_of(BOT, score, certified_score=counted) for score, counted in scores)
    )

    assert decided == [ALERT, None, withheld(Withheld.UNCERTIFIED), None, SUSPEND, None, None]


def test_a_high_score_needs_no_alert_before_it():
    """A session that reaches its suspension limit at once has one decision, and no alert later."""
    rules = rules_of()

    assert levels_of(rules, candidate_of(BOT, 90), candidate_of(BOT, 70)) == [SUSPEND, None]


def test_sessions_are_decided_apart():
    """What has been decided of one session says nothing of another of the same agent."""
    rules = rules_of()
    other = Event(ts_us=START_US, agent="billing-bot", action="read", session="s2")

    assert levels_of(rules, candidate_of(BOT, 65), candidate_of(other, 65)) == [ALERT, ALERT]


def test_a_policy_stays_with_its_session():
    """It is found at the first report; a group that is named later does not change it."""
    rules = rules_of({"name": "lax", "match": {"groups": ["g"]}, "alert": {"score": 70}})
    named = Event(ts_us=START_US, agent="billing-bot", action="read", session="s1", group="g")

    assert levels_of(rules, candidate_of(BOT, 0), candidate_of(named, 65)) == [None, ALERT]
    assert levels_of(
        rules_of({"name": "lax", "match": {"groups": ["g"]}, "alert": {"score": 70}}),
        candidate_of(named, 65),
    ) == [None]


def test_the_breaker_counts_per_tenant_and_hour():
    """Two an hour: the third is withheld; another tenant's or hour's is not."""
    rules = rules_of(suspensions_per_hour_max=2)
    third = session(3)

    decided = levels_of(
        rules,
        candidate_of(session(1), 85),
        candidate_of(session(2, ts_us=START_US + HOUR_US - 1), 85),
        candidate_of(third, 85),
        candidate_of(session(4, tenant="acme"), 85),
        candidate_of(session(5, ts_us=START_US + HOUR_US), 85),
        candidate_of(third, 90, ts_us=START_US + HOUR_US),
        candidate_of(session(6, ts_us=START_US + HOUR_US), 85),
    )

    full = withheld(Withheld.BREAKER)
    assert decided == [SUSPEND, SUSPEND, full, SUSPEND, SUSPEND, SUSPEND, full]


def test_what_is_withheld_otherwise_does_not_count_for_the_breaker():
    """A flood of observed sessions does not keep a real suspension back."""
    rules = rules_of(
        {"name": "watch", "match": {"agents": ["w-*"]}, "mode": "observe"},
        suspensions_per_hour_max=1,
    )
    watched = [candidate_of(session(0, agent=f"w-{number}"), 85) for number in range(5)]

    assert levels_of(rules, *watched, candidate_of(BOT, 85))[-1] == SUSPEND


def test_the_breaker_of_what_is_observed_counts_what_is_enforced_too():
    """If all policies enforced they would share the hour."""
    rules = rules_of(
        {"name": "watch", "match": {"agents": ["w-*"]}, "mode": "observe"},
        suspensions_per_hour_max=1,
    )

    decided = levels_of(rules, candidate_of(BOT, 85), candidate_of(session(0, agent="w-1"), 85))

    assert decided == [SUSPEND, withheld(Withheld.BREAKER)]


def test_a_late_event_counts_in_the_latest_hour():
    """Time never goes back for the breaker, so lateness makes no room."""
    breaker = Breaker()

    admitted = [breaker.admits("t", START_US + hours * HOUR_US, 1) for hours in (1, 0, 1, 2)]

    assert admitted == [True, False, False, True]


def test_the_breaker_remembers_a_bounded_number_of_tenants():
    """Those whose hour is the earliest are forgotten first."""
    breaker = Breaker()
    for number in range(BREAKER_TENANTS_MAX + 1):
        breaker.admits(f"t{number:05d}", START_US + (number > 0) * HOUR_US, 1)

    remembered = {tenant for tenant, _, _ in breaker.dump()}

    assert len(remembered) == BREAKER_TENANTS_MAX + 1 - BREAKER_TENANTS_MAX // _FORGOTTEN_AT_ONCE
    assert "t00000" not in remembered
    assert f"t{BREAKER_TENANTS_MAX:05d}" in remembered


def test_ids_are_what_they_have_always_been():
    """Stores, receivers and analysts know cases and decisions by these ids for ever."""
    assert case_id("acme", "billing-bot", "s1") == "case_dfaca11a342f93dd"
    assert (
        decision_id("acme", "billing-bot", "s1", "default", Level.ALERT) == "dec_8c41aaa729c5bbe6"
    )
    assert (
        decision_id("acme", "billing-bot", "s1", "default", Level.SUSPEND) == "dec_600aff0647230f30"
    )


def test_ids_differ_with_all_they_are_about():
    """Tenant, agent, session, policy and level; texts do not flow into one another."""
    about = [
        ("acme", "bot", "s", "default", Level.ALERT),
        ("", "bot", "s", "default", Level.ALERT),
        ("acme", "bot2", "s", "default", Level.ALERT),
        ("acme", "bot", "s2", "default", Level.ALERT),
        ("acme", "bot", "s", "payments", Level.ALERT),
        ("acme", "bot", "s", "default", Level.WITHHELD),
        ("acme", "bot", "s", "default", Level.SUSPEND),
        ("acme", "bots", "", "default", Level.ALERT),
        ("acmebot", "", "s", "default", Level.ALERT),
        ("bot", "acme", "s", "default", Level.ALERT),
    ]

    assert len({decision_id(*each) for each in about}) == len(about)
    assert len({case_id(*each[:3]) for each in about}) == 7


def test_a_decision_carries_its_ids():
    """They follow from what the event says, and from the policy and level."""
    event = Event(ts_us=START_US, agent="a", action="b", session="s", tenant="t")
    decision = rules_of({"name": "p"}).decide(candidate_of(event, 65))

    assert decision.id == decision_id("t", "a", "s", "p", Level.ALERT)
    assert decision.case == case_id("t", "a", "s")


def test_a_session_without_a_name_is_named_by_agent_and_beginning():
    """Two of them are two cases, and one is the same case whenever it is decided."""
    first = Event(ts_us=START_US, agent="bot", action="read")
    later = Event(ts_us=START_US + HOUR_US, agent="bot", action="read")
    rules = rules_of()

    alert = rules.decide(candidate_of(first, 65))
    suspend = rules.decide(candidate_of(later, 85, start_us=START_US))
    rules.end(int(candidate_of(first).record["session"]))
    other = rules.decide(candidate_of(later, 65))

    assert alert.session == suspend.session == "bot@2026-11-22T02:00:00.000Z"
    assert alert.case == suspend.case
    assert other.session == "bot@2026-11-22T03:00:00.000Z"


def test_a_session_that_was_cut_is_decided_under_the_same_ids():
    """Its pieces are judged each; what is decided again is known by its id."""
    rules = rules_of()

    first = rules.decide(candidate_of(BOT, 65))
    rules.end(int(candidate_of(BOT).record["session"]))
    later = Event(ts_us=START_US + HOUR_US, agent="billing-bot", action="read", session="s1")
    again = rules.decide(candidate_of(later, 70))

    assert (first.id, first.case) == (again.id, again.case)


def test_a_decision_says_what_an_auditor_asks():
    """Who, when, for whom, under which policy, model and configuration."""
    config = load_config(overrides={"default_policy": {"mode": "enforce"}})
    event = Event(
        ts_us=START_US + 5, agent="bot", action="read", session="s", principal="jane",
        group="g", kind="api_key", tenant="t", event_id="e",
    )  # fmt: skip

    decision = Rules(config).decide(candidate_of(event, 85.0, age=GROWN))

    told = decision.as_dict()
    assert told["evidence"]
    del told["evidence"], told["id"], told["case"]
    assert told == {
        "level": "suspend", "withheld": "", "ts_us": START_US + 5, "tenant": "t", "agent": "bot",
        "session": "s", "principal": "jane", "group": "g", "kind": "api_key", "event_id": "e",
        "score": 85.0, "n": 10**4.25, "certified": True, "limit": 80.0, "reason": "score",
        "policy": "default", "mode": "enforce", "age_class": 1,
        "model": config.model_hash, "config": config.config_hash, "looks_like": "",
    }  # fmt: skip


scored = st.tuples(
    st.integers(0, 4),
    st.sampled_from([0.0, 60.0, 80.0, 100.0]),
    st.sampled_from([0.0, 80.0]),
    st.integers(0, 3),
)


@given(st.lists(scored, max_size=20))
def test_what_is_observed_is_what_would_have_been_suspended(reports):
    """Whoever only watches counts by the reasons what it would be to enforce, each once."""
    enforcing, watching = (
        rules_of(mode=mode, suspensions_per_hour_max=2) for mode in ("enforce", "observe")
    )
    candidates = [
        candidate_of(session(number), score, counted, ts_us=START_US + hours * HOUR_US)
        for number, score, counted, hours in reports
    ]

    watched = [watching.decide(candidate) for candidate in candidates]
    observed = [one and (one.level, one.withheld) for one in watched]

    would = {withheld(Withheld.OBSERVE): SUSPEND}
    assert [would.get(one, one) for one in observed] == levels_of(enforcing, *candidates)
    assert len({one.id for one in watched if one}) == sum(one is not None for one in watched)


@given(st.lists(scored, max_size=20), st.integers(0, 20), st.sampled_from(["enforce", "observe"]))
def test_a_dump_of_open_sessions_continues_exactly(reports, cut, mode):
    """Levels, policies and the breakers' counts go on as if never written."""
    policies = ({"name": "two", "match": {"agents": ["bot-2"]}, "suspend": {"score": 100}},)
    default = {"mode": mode, "suspensions_per_hour_max": 2}
    live, restored, decided = rules_of(*policies, **default), None, []
    for place, (number, score, counted, hours) in enumerate(reports):
        if place == cut:
            restored = rules_of(*policies, **default)
            restored.load(live.dump(), live.dump_observed())
            restored.breaker.load(live.breaker.dump())
            restored.foreseen.load(live.foreseen.dump())
        candidate = candidate_of(session(number), score, counted, ts_us=START_US + hours * HOUR_US)
        decided.append([rules.decide(candidate) for rules in filter(None, (live, restored))])

    assert all(each[0] == each[-1] for each in decided)
    if restored is not None:
        assert restored.dump() == live.dump()
        assert restored.dump_observed() == live.dump_observed()
        assert restored.breaker.dump() == live.breaker.dump()
        assert restored.foreseen.dump() == live.foreseen.dump()


def test_what_an_older_dump_has_withheld_is_not_observed_again():
    """It does not say why; where the policy observes that was the reason, or it is as good."""
    old, new = rules_of(mode="observe"), rules_of(mode="observe")
    old.decide(candidate_of(BOT, 85))

    new.load(old.dump())

    assert levels_of(new, candidate_of(BOT, 90)) == [None]


def test_a_policy_that_is_gone_frees_its_sessions():
    """After a restart with other policies a session gets the policy it has now."""
    old = rules_of({"name": "old", "match": {"agents": ["billing-*"]}})
    old.decide(candidate_of(BOT, 65))

    new = rules_of({"name": "new", "match": {"agents": ["billing-*"]}})
    new.load(old.dump())

    assert new.decide(candidate_of(BOT, 65)).policy == "new"


def test_open_sessions_that_are_remembered_are_bounded():
    """Beyond the bound those that began first are forgotten, whoever came first."""
    rules, candidate = rules_of(), candidate_of(BOT, 0.0)
    forgotten = OPEN_MAX // _FORGOTTEN_AT_ONCE
    order = np.random.default_rng(3).permutation(OPEN_MAX + 1)
    for number in order.tolist():
        candidate.record["session"], candidate.record["start_us"] = number, START_US + number
        rules.decide(candidate)

    assert sorted(rules._open) == list(range(forgotten, OPEN_MAX + 1))
