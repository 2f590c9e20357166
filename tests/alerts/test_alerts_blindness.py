"""Findings of silences, checked against what OCSF 1.8.0 says of a Detection Finding."""

from dataclasses import replace

import orjson
import pytest
from test_alerts_ocsf import DETECTION_FINDING, Object, faults

from astray.alerts.blindness import silence_finding
from astray.decide.silence import Kind, Over, Silence

RESOURCE = Object({"uid": str, "type": str}, frozenset())
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
                    "resources": [RESOURCE],
                },
                any_of=frozenset({"actor", "api", "resources"}),
            )
        ],
    },
)
"""What a silence has besides: attributes of the same class."""

AGENT = Silence(
    case="case_1",
    kind=Kind.AGENT,
    tenant="acme",
    name="billing-bot",
    last_us=1_795_312_800_000_000,
    ts_us=1_795_323_600_000_000,
    waited=2.912,
    usual=1.0,
    limit=2.604,
    pauses=336,
)


def of(kind, **changes):
    """Return a silence of a kind."""
    return replace(AGENT, kind=kind, **changes)


def found_of(silence):
    """Return the finding of a silence, checked."""
    found = orjson.loads(silence_finding(silence))
    assert faults(found, FINDING) == []
    assert found["type_uid"] == 100 * found["class_uid"] + found["activity_id"]
    return found


def test_a_silent_agent_is_the_actor_of_a_finding_of_its_own_kind():
    """It says what it is, since when, and what the limit was derived from; no score, no session."""
    found = found_of(AGENT)

    assert found["finding_info"]["uid"] == "case_1"
    assert found["finding_info"]["title"] == "billing-bot has fallen silent"
    assert found["finding_info"]["types"] == ["blindness"]
    assert (found["activity_id"], found["status_id"], found["is_alert"]) == (1, 1, True)
    assert (found["start_time"], found["time"]) == (1_795_312_800_000, 1_795_323_600_000)
    assert found["evidences"][0]["actor"]["app_uid"] == "billing-bot"
    assert found["unmapped"] == {
        "finding": "blindness", "kind": "agent", "tenant": "acme", "name": "billing-bot",
        "agent": "billing-bot", "last_us": AGENT.last_us, "over": "", "waited": 2.91,
        "usual": 1.0, "limit": 2.6, "pauses": 336, "count": 1, "examples": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("over", "status", "title"),
    [
        (Over.BACK, 4, "billing-bot is heard again"),
        (Over.FORGOTTEN, 5, "billing-bot is not waited for any more"),
    ],
)
def test_what_is_over_closes_the_same_case(over, status, title):
    """It is a closing of the finding, alarms nobody, and has an id of its own."""
    found, began = found_of(replace(AGENT, over=over)), found_of(AGENT)

    assert (found["activity_id"], found["status_id"], found["is_alert"]) == (3, status, False)
    assert found["severity_id"] == 1
    assert found["finding_info"]["title"] == title
    assert found["finding_info"]["uid"] == began["finding_info"]["uid"]
    assert found["metadata"]["uid"] != began["metadata"]["uid"]


@pytest.mark.parametrize(
    ("silence", "severity", "evidence", "message"),
    [
        pytest.param(
            of(Kind.ACTION, name="audit.export"),
            3,
            {"api": {"operation": "audit.export"}},
            "Action audit.export shows no sign of life since 2026-11-22T02:00:00.000Z: 2.9 were "
            "to be expected, and its longest pause of 336 was one of 1.0",
            id="action",
        ),
        pytest.param(
            of(Kind.SOURCE, name="kafka:actions", limit=900.0),
            4,
            {"resources": [{"uid": "kafka:actions", "type": "source"}]},
            "Source kafka:actions has given nothing since 2026-11-22T02:00:00.000Z: for 900 s",
            id="source",
        ),
        pytest.param(
            of(Kind.AGENTS, name="", count=1234, examples=("a", "b")),
            4,
            {"resources": [{"uid": "a", "type": "agents"}, {"uid": "b", "type": "agents"}]},
            "1,234 agents have fallen silent at once, among them a, b",
            id="many agents",
        ),
    ],
)
def test_every_kind_names_what_is_silent(silence, severity, evidence, message):
    """What blinds more than one agent is graver, and has no actor."""
    found = found_of(silence)

    assert found["severity_id"] == severity
    assert found["evidences"] == [evidence]
    assert found["message"] == message
    assert "agent" not in found["unmapped"]
