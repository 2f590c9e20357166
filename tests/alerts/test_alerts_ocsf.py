"""Findings, checked against what OCSF 1.8.0 says of a Detection Finding."""

from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.alerts.ocsf import FINDING_BYTES_MAX, finding, undelivered
from astray.baseline.rehearsal import KINDS
from astray.decide.decision import Evidence, Level, Mode, Withheld
from astray.decide.likeness import LIKENESSES
from astray.events.schema import RESOURCES_MAX, TEXT_BYTES_MAX
from astray.respond import resume_body, suspend_body
from astray.testing import make_decision


@dataclass(frozen=True)
class Object:
    """An OCSF object: attributes and their types, which of them must be, which of some must be."""

    attributes: dict[str, Any]
    required: frozenset[str] = frozenset()
    any_of: frozenset[str] = frozenset()


def enum(*values: int) -> frozenset[int]:
    """Return the values of an enumeration; 0 is Unknown and 99 Other in all of OCSF."""
    return frozenset({0, *values, 99})


# The part of https://schema.ocsf.io/1.8.0/classes/detection_finding that astray writes, read
# by hand. A list holds the type of its elements; `dict` is OCSF's free `json` or `object`.
USER = Object(
    {"uid": str, "name": str, "type_id": enum(1, 2, 3, 4, 5)}, any_of=frozenset({"uid", "name"})
)
ACTOR = Object(
    {"app_uid": str, "app_name": str, "user": USER, "session": Object({"uid": str})},
    any_of=frozenset({"app_uid", "app_name", "user", "session"}),
)
OBSERVED = Object({"value": str, "count": int}, frozenset({"value"}))
OBSERVATION = Object(
    {"observation_parameter": str, "observations": [OBSERVED]},
    frozenset({"observation_parameter", "observations"}),
)
DETECTION_FINDING = Object(
    {
        "activity_id": enum(1, 2, 3),
        "category_uid": frozenset({2}),
        "class_uid": frozenset({2004}),
        "type_uid": frozenset({200400, 200401, 200402, 200403, 200499}),
        "time": int,
        "severity_id": enum(1, 2, 3, 4, 5, 6),
        "status_id": enum(1, 2, 3, 4, 5, 6),
        "is_alert": bool,
        "confidence_id": enum(1, 2, 3),
        "risk_score": int,
        "risk_level_id": enum(1, 2, 3, 4),
        "message": str,
        "metadata": Object(
            {
                "version": frozenset({"1.8.0"}),
                "uid": str,
                "product": Object(
                    {"name": str, "vendor_name": str, "version": str},
                    any_of=frozenset({"name", "uid"}),
                ),
            },
            frozenset({"version", "product"}),
        ),
        "finding_info": Object(
            {
                "uid": str,
                "title": str,
                "desc": str,
                "analytic": Object({"uid": str, "name": str, "type_id": enum(1, 2, 3, 4, 5, 6)}, frozenset({"type_id"})),
                "related_events": [Object({"uid": str}, frozenset({"uid"}))],
                "attacks": [Object({"version": str, "technique": Object({"uid": str, "name": str}, any_of=frozenset({"uid", "name"}))}, any_of=frozenset({"technique"}))],
            },
            frozenset({"uid"}),
        ),
        "evidences": [Object({"actor": ACTOR, "user": USER, "data": dict}, any_of=frozenset({"actor", "data", "user"}))],
        "anomaly_analyses": [
            Object(
                {
                    "analysis_targets": [Object({"name": str, "type": str}, frozenset({"name"}))],
                    "anomalies": [OBSERVATION],
                    "baselines": [OBSERVATION],
                },
                frozenset({"analysis_targets", "anomalies"}),
            )
        ],
        "resources": [Object({"uid": str, "name": str}, any_of=frozenset({"uid", "name"}))],
        "observables": [Object({"name": str, "type_id": enum(2, 4, 10, 31), "value": str}, frozenset({"type_id"}))],
        "unmapped": dict,
    },
    frozenset({"activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "finding_info"}),
)  # fmt: skip


def faults(value: Any, expected: Any, at: str = "finding") -> list[str]:
    """Return what of a value is not as OCSF has it."""
    if isinstance(expected, list):
        if not isinstance(value, list):
            return [f"{at}: no array"]
        return [
            fault
            for place, each in enumerate(value)
            for fault in faults(each, expected[0], f"{at}[{place}]")
        ]
    if isinstance(expected, frozenset):
        return (
            []
            if value in expected and not isinstance(value, bool)
            else [f"{at}: {value!r} is not in the enumeration"]
        )
    if isinstance(expected, type):
        return [] if type(value) is expected else [f"{at}: {value!r} is no {expected.__name__}"]
    if not isinstance(value, dict):
        return [f"{at}: no object"]
    found = [f"{at}: no {name}" for name in sorted(expected.required - value.keys())]
    if expected.any_of and not expected.any_of & value.keys():
        found.append(f"{at}: none of {sorted(expected.any_of)}")
    for name, each in value.items():
        known = name in expected.attributes
        found += (
            faults(each, expected.attributes[name], f"{at}.{name}")
            if known
            else [f"{at}: {name} is unknown"]
        )
    return found


def found_of(decision, *, update=False):
    """Return the finding of a decision, checked."""
    found = orjson.loads(finding(decision, update=update))
    assert faults(found, DETECTION_FINDING) == []
    assert found["type_uid"] == 100 * found["class_uid"] + found["activity_id"]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_attack_has_its_places_in_the_taxonomies(kind):
    """What a session looks like is in the sentence, in MITRE's terms and in OWASP's."""
    decision = make_decision(looks_like=kind)

    found = found_of(decision)

    like = LIKENESSES[kind]
    assert found["message"].endswith(f"look like this, most like {like.title}")
    told = [each["technique"]["uid"] for each in found["finding_info"]["attacks"]]
    assert told == [each.uid for each in like.techniques] != []
    assert found["unmapped"]["looks_like"] == kind
    assert found["unmapped"]["owasp"] == list(like.owasp)


def test_a_finding_says_who_what_why_and_how_sure():
    """The whole of it, as a SIEM gets it."""
    decision = make_decision(tenant="acme")

    found = found_of(decision)

    assert found.pop("unmapped") == {
        "tenant": "acme", "agent": "billing-bot", "session": "session-1",
        "principal": "jane@example.com", "group": "finance", "kind": "ai_agent",
        "event_id": "event-41", "level": "suspend", "score": 83.0, "n": 14125.0,
        "certified": True, "limit": 80.0, "reason": "score", "policy": "default",
        "mode": "enforce", "age_class": 2, "model": "model-1", "config": "config-1",
    }  # fmt: skip
    assert found.pop("metadata")["uid"] == decision.id
    sentence = (
        "read 41 tables it never read before; usual are at most 2 in a session; "
        "1 in 14,125 sessions look like this"
    )
    assert found == {
        "category_uid": 2,
        "class_uid": 2004,
        "activity_id": 1,
        "type_uid": 200401,
        "time": 1_795_312_800_123,
        "severity_id": 5,
        "status_id": 1,
        "is_alert": True,
        "confidence_id": 3,
        "risk_score": 83,
        "risk_level_id": 4,
        "message": sentence,
        "finding_info": {
            "uid": decision.case,
            "title": "Session of billing-bot suspended",
            "desc": sentence,
            "analytic": {"uid": "model-1", "name": "session ranking", "type_id": 2},
            "related_events": [{"uid": "event-40"}, {"uid": "event-41"}],
        },
        "evidences": [
            {
                "actor": {
                    "app_uid": "billing-bot",
                    "app_name": "billing-bot",
                    "user": {"uid": "billing-bot", "type_id": 4},
                    "session": {"uid": "session-1"},
                },
                "user": {"uid": "jane@example.com"},
                "data": {
                    "sentence": "read 41 tables it never read before; usual are at most 2 in a session",
                    "channel": "resource",
                    "item": "payroll.salaries",
                    "level": "own",
                    "seen": "41 new tables",
                    "usual": "at most 2 in a session",
                    "bits": 17.5,
                    "share": 1.0,
                    "event_ids": ["event-40", "event-41"],
                },
            }
        ],
        "anomaly_analyses": [
            {
                "analysis_targets": [{"name": "billing-bot", "type": "ai_agent"}],
                "anomalies": [{"observation_parameter": "resource", "observations": [{"value": "41 new tables"}]}],
                "baselines": [{"observation_parameter": "resource", "observations": [{"value": "at most 2 in a session"}]}],
            }
        ],
        "resources": [{"uid": "payroll.salaries"}],
        "observables": [
            {"name": "evidences[].actor.user.uid", "type_id": 31, "value": "billing-bot"},
            {"name": "resources[].uid", "type_id": 10, "value": "payroll.salaries"},
        ],
    }  # fmt: skip


def test_a_case_that_becomes_worse_updates_its_finding():
    """The finding keeps its uid, which is the case's; its own message has the decision's."""
    alert, suspend = make_decision(level=Level.ALERT), make_decision()

    created, updated = found_of(alert), found_of(suspend, update=True)

    assert created["finding_info"]["uid"] == updated["finding_info"]["uid"] == alert.case
    assert created["metadata"]["uid"] != updated["metadata"]["uid"]
    assert [(f["activity_id"], f["type_uid"], f["status_id"]) for f in (created, updated)] == [
        (1, 200401, 1),
        (2, 200402, 2),
    ]


GRAVITIES = [
    ({"level": Level.SUSPEND}, 5, 3, "Session of billing-bot suspended"),
    ({"level": Level.SUSPEND, "certified": False}, 5, 2, "Session of billing-bot suspended"),
    ({"level": Level.ALERT}, 3, 3, "Session of billing-bot is unlike its baseline"),
    ({"level": Level.ALERT, "certified": False}, 2, 2, "Session of billing-bot is unlike its baseline"),
    ({"level": Level.WITHHELD, "withheld": Withheld.OBSERVE}, 4, 3, "Session of billing-bot not suspended: its policy only observes"),
    ({"level": Level.WITHHELD, "withheld": Withheld.UNCERTIFIED, "certified": False}, 4, 2, "Session of billing-bot not suspended: the reference is too short to certify its score"),
    ({"level": Level.WITHHELD, "withheld": Withheld.YOUNG}, 4, 3, "Session of billing-bot not suspended: the agent is too new to be judged by its score"),
    ({"level": Level.WITHHELD, "withheld": Withheld.NEVER_SUSPEND}, 4, 3, "Session of billing-bot not suspended: its policy never suspends this agent"),
    ({"level": Level.WITHHELD, "withheld": Withheld.BREAKER}, 4, 3, "Session of billing-bot not suspended: its policy allows no more suspensions in this hour"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "severity", "confidence", "title"),
    GRAVITIES,
    ids=[" ".join(map(str, changes.values())) for changes, *_ in GRAVITIES],
)
def test_how_grave_it_is_follows_from_what_was_decided(changes, severity, confidence, title):
    """Suspended is critical, withheld high, an alert medium, and one not certified low."""
    found = found_of(make_decision(**changes))

    assert (found["severity_id"], found["confidence_id"]) == (severity, confidence)
    assert found["finding_info"]["title"] == title
    assert found["unmapped"].get("withheld", "") == changes.get("withheld", "")


@pytest.mark.parametrize(
    ("score", "risk_score", "risk_level"),
    [(0.0, 0, 0), (19.9, 20, 0), (20.0, 20, 1), (59.4, 59, 2), (60.0, 60, 3), (80.0, 80, 4), (100.0, 100, 4)],
)  # fmt: skip
def test_risk_follows_the_score(score, risk_score, risk_level):
    """A whole number, and OCSF's five levels, twenty apart."""
    found = found_of(make_decision(score=score))

    assert (found["risk_score"], found["risk_level_id"]) == (risk_score, risk_level)


def reason_of(**changes):
    """Return a piece of evidence, with changes."""
    return replace(make_decision().evidence[0], **changes)


def test_affected_resources_are_named_once():
    """Those of new resources, of new uses of resources and of forbidden ones, and nothing else."""
    evidence = (
        reason_of(channel="pair", item="db://a", seen="read on db://a"),
        reason_of(channel="resource", item="db://b"),
        reason_of(channel="resource", item="db://a"),
        reason_of(channel="forbidden_resources", item="db://c"),
        reason_of(channel="action", item="read"),
        reason_of(channel="resource", item=""),
    )

    found = found_of(make_decision(evidence=evidence))

    assert [resource["uid"] for resource in found["resources"]] == ["db://a", "db://b", "db://c"]
    assert [each["value"] for each in found["observables"][1:]] == ["db://a", "db://b", "db://c"]


def test_what_is_not_known_is_left_out():
    """Without a principal no user, without event ids no related events."""
    decision = make_decision(
        principal="", event_id="", evidence=(reason_of(event_ids=(), usual=""),)
    )

    found = found_of(decision)

    assert "user" not in found["evidences"][0]
    assert found["finding_info"]["related_events"] == []
    assert found["anomaly_analyses"][0]["baselines"][0]["observations"] == [{"value": "-"}]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(0, 1e15)
reasons = st.builds(
    Evidence, channel=texts, item=texts, level=texts, seen=texts, usual=texts, bits=numbers,
    share=st.floats(0, 1), event_ids=st.lists(texts, max_size=3).map(tuple), sentence=texts,
)  # fmt: skip
decisions = st.fixed_dictionaries(
    {
        **dict.fromkeys(["tenant", "agent", "session", "principal", "group", "kind", "event_id", "policy", "reason"], texts),
        "level": st.sampled_from(Level),
        "withheld": st.sampled_from(Withheld),
        "mode": st.sampled_from(Mode),
        "ts_us": st.integers(0, 2**53),
        "score": st.floats(0, 120),
        "n": st.floats(1, 1e9),
        "certified": st.booleans(),
        "limit": numbers,
        "age_class": st.integers(0, 2),
        "evidence": st.lists(reasons, max_size=4).map(tuple),
    }
).map(lambda changes: make_decision(**changes))  # fmt: skip


@given(decisions, st.booleans())
def test_every_decision_makes_a_finding(decision, update):
    """Whatever was decided, the finding is JSON, is OCSF, and is the same each time."""
    found = found_of(decision, update=update)

    assert finding(decision, update=update) == orjson.dumps(found)
    assert found["metadata"]["uid"] == decision.id


@pytest.mark.parametrize(
    "letter", ["a", "é", "\x01", '"'], ids=["plain", "umlaut", "control", "quote"]
)
def test_a_finding_is_bounded(letter):
    """With the longest texts that events have, the last of the evidence gives way."""
    longest = letter * (TEXT_BYTES_MAX // len(letter.encode()))
    sentence = f"{longest} touched {longest}, {longest}, {longest} and 29 others"
    worst = reason_of(
        item=longest, seen=sentence, usual=longest, sentence=sentence, event_ids=(longest,)
    )
    names = dict.fromkeys(["agent", "session", "principal", "group", "tenant", "event_id"], longest)
    decision = make_decision(**names, evidence=(worst,) * RESOURCES_MAX)

    found = found_of(decision)

    assert len(finding(decision, update=False)) <= FINDING_BYTES_MAX
    assert 1 <= len(found["evidences"]) <= RESOURCES_MAX
    assert found["evidences"][0]["data"]["sentence"] == sentence
    assert len(found["anomaly_analyses"][0]["anomalies"]) == len(found["evidences"])


def test_a_suspension_that_did_not_arrive_is_a_finding_of_its_case():
    """Whoever reads alerts learns that the session goes on, of whom, and why."""
    decision = make_decision()
    body = suspend_body(decision, expires_s=1_795_316_400.0)

    found = orjson.loads(undelivered("msg_1", body, "the receiver answered 500"))

    assert faults(found, DETECTION_FINDING) == []
    message = "The suspension of billing-bot, session session-1, was not delivered: the receiver answered 500"
    assert (found["message"], found["metadata"]["uid"]) == (message, "msg_1")
    assert found["finding_info"] == {"uid": decision.case, "title": "Suspension not delivered"}
    assert (found["type_uid"], found["severity_id"], found["time"]) == (
        200402,
        5,
        1_795_312_800_123,
    )
    assert found["evidences"] == [
        {"actor": {"app_uid": "billing-bot", "session": {"uid": "session-1"}}}
    ]


def test_a_release_that_did_not_arrive_is_a_finding_too():
    """A session that people let go on and that does not is worth knowing of."""
    decision = make_decision()
    body = resume_body(decision, "kim", "", 0.0, 1.0)

    found = orjson.loads(undelivered("msg_1", body, "the receiver answered 500"))

    assert faults(found, DETECTION_FINDING) == []
    assert found["message"].startswith("The release of billing-bot, session session-1, was not ")
    assert found["finding_info"] == {"uid": decision.case, "title": "Release not delivered"}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ({"severity_id": 7}, "finding.severity_id: 7 is not in the enumeration"),
        ({"time": 1.5}, "finding.time: 1.5 is no int"),
        ({"is_alert": 1}, "finding.is_alert: 1 is no bool"),
        ({"agent": "x"}, "finding: agent is unknown"),
        ({"metadata": {"product": {}}}, "finding.metadata: no version"),
        ({"evidences": [{}]}, "finding.evidences[0]: none of ['actor', 'data', 'user']"),
    ],
    ids=["enumeration", "fraction", "number for a truth", "unknown", "missing", "none of several"],
)
def test_the_check_itself_finds_faults(damage, fault):
    """A check that passes everything would show nothing."""
    found = found_of(make_decision()) | damage

    assert fault in faults(found, DETECTION_FINDING)
