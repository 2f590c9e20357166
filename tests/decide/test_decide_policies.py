"""Policies: which one an agent has, and what it asks for."""

import pytest

from astray.config import load_config
from astray.decide.decision import Mode
from astray.decide.policies import compile_policies, policy_of
from astray.events import Event

WEBHOOK = {"name": "idp", "url": "https://idp.example.com", "secret": "env:SECRET"}


def policies_of(*policies, default=None, webhook=()):
    """Return compiled policies of a configuration with these tables."""
    overrides = {"policy": list(policies), "webhook": list(webhook)}
    return compile_policies(load_config(overrides=overrides | {"default_policy": default or {}}))


@pytest.mark.parametrize(
    ("match", "event", "name"),
    [
        pytest.param({"agents": ["pay-*"]}, {"agent": "pay-1"}, "own", id="agent by glob"),
        pytest.param({"agents": ["pay-*"]}, {"agent": "repay-1"}, "default", id="globs are anchored"),
        pytest.param({"agents": ["pay"]}, {"agent": "pay-1"}, "default", id="at both ends"),
        pytest.param({"agents": ["x", "p?y"]}, {"agent": "pay"}, "own", id="any glob of a list"),
        pytest.param({"agents": ["pay-*"]}, {"agent": "PAY-1"}, "default", id="case counts"),
        pytest.param({"agents": ["a*"]}, {"agent": "a\nb"}, "own", id="a line break is a character"),
        pytest.param({"groups": ["fin*"]}, {"group": "finance"}, "own", id="group"),
        pytest.param({"groups": ["fin*"]}, {"agent": "finance"}, "default", id="group, not agent"),
        pytest.param({"kinds": ["api_key"]}, {"kind": "api_key"}, "own", id="kind"),
        pytest.param({"tenants": ["acme"]}, {"tenant": "acme"}, "own", id="tenant"),
        pytest.param({"tenants": ["?*"]}, {}, "default", id="no tenant"),
        pytest.param({"agents": ["pay"], "groups": ["f"]}, {"agent": "pay", "group": "f"}, "own", id="all lists"),
        pytest.param({"agents": ["pay"], "groups": ["f"]}, {"agent": "pay"}, "default", id="one of two lists"),
        pytest.param({}, {}, "own", id="no lists match everyone"),
    ],
)  # fmt: skip
def test_a_policy_is_for_those_whom_all_its_lists_match(match, event, name):
    """Globs on agent, group, kind and tenant, of which every list given must match."""
    policies = policies_of({"name": "own", "match": match})

    found = policy_of(policies, Event(**{"ts_us": 0, "agent": "bot", "action": "read", **event}))

    assert found.name == name


def test_the_first_policy_that_matches_wins():
    """The order of the file decides, and the default comes last."""
    first, second = {"name": "first", "match": {"agents": ["pay-*"]}}, {"name": "second"}

    for order, name in (((first, second), "first"), ((second, first), "second")):
        found = policy_of(policies_of(*order), Event(ts_us=0, agent="pay-1", action="read"))
        assert found.name == name


def test_a_policy_inherits_what_it_does_not_say():
    """Thresholds, limits and lists come from the default policy, a threshold as a whole."""
    own, default = policies_of(
        {
            "name": "own",
            "alert": {"budget_per_million": 10_000},
            "limits": {"events_per_minute": 60},
        },
        default={
            "suspend": {"score": 70},
            "never_suspend": ["vip-*"],
            "enforce_uncertified": True,
            "suspensions_per_hour_max": 7,
            "limits": {"then": "alert", "bytes_per_session": 1e9},
        },
    )

    assert (own.alert_score, own.suspend_score) == (40.0, 70.0)
    assert (default.alert_score, default.suspend_score) == (60.0, 70.0)
    assert own.never_suspends("vip-1")
    assert not own.never_suspends("not-vip-1")
    assert (own.enforce_uncertified, own.suspensions_per_hour_max) == (True, 7)
    assert (own.limits.then, own.limits.bytes_per_session) == ("alert", 1e9)
    assert (own.limits.events_per_minute, default.limits.events_per_minute) == (60, None)


@pytest.mark.parametrize(
    ("threshold", "score"),
    [
        ({"score": 55.5}, 55.5),
        ({"budget_per_million": 1_000}, 60.0),
        ({"budget_per_million": 1}, 120.0),
        ({"budget_per_million": 500_000}, pytest.approx(6.0206, abs=1e-4)),
    ],
    ids=["score", "a thousand of a million", "one of a million", "every other"],
)
def test_a_threshold_is_a_score_or_a_budget(threshold, score):
    """A budget of b per million is the score of 1 in 10**6 / b."""
    (default,) = policies_of(default={"suspend": threshold})

    assert default.suspend_score == score


def test_who_is_suspended_is_alerted_of():
    """An alert limit above the suspension limit comes down to it."""
    (default,) = policies_of(default={"alert": {"score": 90}, "suspend": {"score": 50}})

    assert default.alert_score == 50.0


@pytest.mark.parametrize(
    ("mode", "webhook", "becomes"),
    [
        pytest.param("auto", [], Mode.OBSERVE, id="auto without a webhook"),
        pytest.param("auto", [WEBHOOK], Mode.ENFORCE, id="auto with a webhook"),
        pytest.param("observe", [WEBHOOK], Mode.OBSERVE, id="observe all the same"),
        pytest.param("enforce", [], Mode.ENFORCE, id="enforce all the same"),
    ],
)
def test_mode_auto_enforces_where_there_is_a_webhook(mode, webhook, becomes):
    """Without anybody to tell, nothing can be enforced."""
    (default,) = policies_of(default={"mode": mode}, webhook=webhook)

    assert default.mode is becomes
