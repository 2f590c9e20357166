"""Findings of reviews, checked against what OCSF 1.8.0 says of a Detection Finding."""

from dataclasses import replace

import orjson
from test_alerts_ocsf import DETECTION_FINDING, Object, faults

from astray.alerts.review import review_finding
from astray.decide.review import Review

EVIDENCE = DETECTION_FINDING.attributes["evidences"][0]
INFO = DETECTION_FINDING.attributes["finding_info"]
FINDING = replace(
    DETECTION_FINDING,
    attributes={
        **DETECTION_FINDING.attributes,
        "start_time": int,
        "finding_info": replace(INFO, attributes={**INFO.attributes, "types": [str]}),
        "evidences": [
            Object(
                {
                    "actor": EVIDENCE.attributes["actor"],
                    "api": Object({"operation": str}, frozenset({"operation"})),
                    "resources": [Object({"uid": str}, frozenset())],
                },
                any_of=frozenset({"actor", "api", "resources"}),
            )
        ],
    },
)
"""What a review has besides: attributes of the same class."""

REVIEW = Review(
    tenant="acme",
    agent="billing-bot",
    ts_us=1_795_323_600_000_000,
    since_us=1_795_312_800_000_000,
    one_in=100_000.0,
    sessions=8,
    past=56,
    after=2971.04,
    before=2.25,
    is_sudden=True,
)


def found_of(review):
    """Return the finding of a review, checked."""
    found = orjson.loads(review_finding(review))
    assert faults(found, FINDING) == []
    assert found["type_uid"] == 100 * found["class_uid"] + found["activity_id"]
    return found


def test_a_review_is_a_finding_of_its_own_kind_about_its_agent():
    """It says since when and what differs; it has no score and no session, and suspends nobody."""
    found = found_of(REVIEW)

    assert found["finding_info"]["uid"] == REVIEW.case
    assert found["finding_info"]["title"] == "Review billing-bot"
    assert found["finding_info"]["types"] == ["review"]
    assert (found["activity_id"], found["severity_id"], found["is_alert"]) == (1, 3, True)
    assert (found["start_time"], found["time"]) == (1_795_312_800_000, 1_795_323_600_000)
    assert found["message"] == (
        "billing-bot behaves otherwise since 2026-11-22T02:00:00.000Z: its sessions since then (8) "
        "are as odd as 1 in 2,971, those before (56) as 1 in 2; without a change that comes at "
        "most once in 100,000 sessions"
    )
    assert [e["actor"]["app_uid"] for e in found["evidences"]] == ["billing-bot"]
    assert found["unmapped"] == {
        "finding": "review", "tenant": "acme", "agent": "billing-bot",
        "since_us": REVIEW.since_us, "sessions": 8, "past": 56, "one_in_after": 2971.0,
        "one_in_before": 2.2, "is_sudden": True, "false_one_in": 100_000, "count": 1,
        "examples": [],
    }  # fmt: skip


def test_many_at_once_name_some_of_them():
    """There is no one agent that it is about."""
    found = found_of(replace(REVIEW, agent="", count=1234, examples=("a", "b")))

    assert found["message"] == "1,234 agents do not behave as they used to, among them a, b"
    assert [e["actor"]["app_uid"] for e in found["evidences"]] == ["a", "b"]
    assert "agent" not in found["unmapped"]


def test_ids_differ_as_reviews_do():
    """Another time, agent or tenant is another case, and a case is no id of a finding."""
    reviews = [REVIEW, *(replace(REVIEW, **{key: value}) for key, value in (
        ("ts_us", 1), ("agent", "other"), ("tenant", "")
    ))]  # fmt: skip

    ids = {found_of(review)["metadata"]["uid"] for review in reviews}
    cases = {found_of(review)["finding_info"]["uid"] for review in reviews}

    assert (len(ids), len(cases), ids & cases) == (4, 4, set())


FLOOD = Review(
    tenant="acme",
    agent="",
    ts_us=1_795_312_800_000_000,
    since_us=1_795_312_800_000_000,
    one_in=0.0,
    count=1792,
    flood="00c0ffee00c0ffee",
    action="send_money",
    resource="US133000000121212121212",
    usual=448,
    examples=("billing-bot",),
)


def test_a_flood_is_a_finding_of_its_own_kind_about_what_is_done():
    """It says what, to what, how many and how many are usual, and names one of them."""
    found = found_of(FLOOD)

    assert found["finding_info"]["types"] == ["flood"]
    assert found["finding_info"]["title"] == (
        "Review 1,792 agents that do the same at once: send_money on US133000000121212121212"
    )
    assert found["message"] == (
        "At least 1,792 agents did send_money on US133000000121212121212 since "
        "2026-11-22T02:00:00.000Z, among them billing-bot; usual are at most 448"
    )
    actor, *evidences = found["evidences"]
    assert actor["actor"]["app_uid"] == "billing-bot"
    assert evidences == [
        {"api": {"operation": "send_money"}},
        {"resources": [{"uid": "US133000000121212121212"}]},
    ]
    assert [each["value"] for each in found["observables"]] == ["billing-bot"]
    assert found["unmapped"] == {
        "finding": "flood", "tenant": "acme", "since_us": FLOOD.since_us, "count": 1792,
        "usual": 448, "examples": ["billing-bot"], "action": "send_money", "resource": "US133000000121212121212",
    }  # fmt: skip


def test_a_flood_without_a_resource_speaks_of_none():
    """What is done is enough."""
    found = found_of(replace(FLOOD, resource="", usual=0, examples=()))

    assert found["message"].startswith("At least 1,792 agents did send_money since ")
    assert found["message"].endswith("; usual are too few to be counted")
    assert found["evidences"] == [{"api": {"operation": "send_money"}}]
    assert "resource" not in found["unmapped"]


def test_floods_of_other_things_and_hours_are_other_cases():
    """What it was first seen on does not make it another one, nor how many they were."""
    floods = [FLOOD, *(replace(FLOOD, **{key: value}) for key, value in (
        ("ts_us", 1), ("flood", "01"), ("tenant", "")
    ))]  # fmt: skip

    assert len({flood.case for flood in floods}) == 4
    assert replace(FLOOD, resource="other", count=99).case == FLOOD.case
    assert FLOOD.id != FLOOD.case
