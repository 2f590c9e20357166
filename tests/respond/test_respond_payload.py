"""What a webhook says, byte for byte, and how long it can become."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.decide.decision import Evidence
from astray.events.schema import TEXT_BYTES_MAX
from astray.respond import ping_body, suspend_body, webhook_id
from astray.respond.payload import BODY_BYTES_MAX, EVENT_IDS_MAX, EVIDENCE_MAX, resume_body
from astray.testing import make_decision


def test_a_suspension_says_who_what_why_and_until_when() -> None:
    """The contract with every receiver, in full."""
    decision = make_decision(tenant="acme")

    body = orjson.loads(suspend_body(decision, expires_s=1_795_316_400.0))

    assert body == {
        "type": "astray.session.suspend",
        "timestamp": "2026-11-22T02:00:00.123Z",
        "data": {
            "alert_id": decision.case,
            "decision_id": decision.id,
            "mode": "enforce",
            "agent": {"id": "billing-bot", "kind": "ai_agent", "group": "finance"},
            "session": {"id": "session-1"},
            "tenant": "acme",
            "principal": "jane@example.com",
            "score": 83.0,
            "n": 14125.0,
            "certified": True,
            "limit": 80.0,
            "reason": "score",
            "policy": "default",
            "looks_like": "",
            "evidence": [
                {
                    "sentence": "read 41 tables it never read before; "
                    "usual are at most 2 in a session",
                    "channel": "resource",
                    "item": "payroll.salaries",
                    "seen": "41 new tables",
                    "usual": "at most 2 in a session",
                    "bits": 17.5,
                    "event_ids": ["event-40", "event-41"],
                }
            ],
            "event_id": "event-41",
            "expires_at": "2026-11-22T03:00:00.000Z",
            "undo": "astray.session.resume",
        },
    }


def test_a_release_says_whose_session_goes_on_and_who_said_so() -> None:
    """The undoing of a suspension names the same session, and the request that it undoes."""
    decision = make_decision(tenant="acme")

    body = orjson.loads(resume_body(decision, "kim", "a new job", 1_795_312_800.0, 1_795_316_400.0))

    suspended = orjson.loads(suspend_body(decision, expires_s=1_795_316_400.0))
    same = (
        "alert_id", "decision_id", "mode", "agent", "session", "tenant", "principal", "expires_at",
    )  # fmt: skip
    assert (body["type"], body["timestamp"]) == (
        suspended["data"]["undo"],
        "2026-11-22T02:00:00.000Z",
    )
    assert body["data"] == {
        **{name: suspended["data"][name] for name in same},
        "released_by": "kim",
        "note": "a new job",
    }


def test_a_release_is_no_longer_than_a_suspension_may_be() -> None:
    """Whatever people write into it."""
    long = dict.fromkeys(("tenant", "agent", "session", "principal", "group"), "\x00" * 9000)

    body = resume_body(make_decision(**long), "w" * 9000, '"' * 9000, 0.0, 0.0)

    assert len(body) <= BODY_BYTES_MAX


def test_a_ping_asks_for_nothing() -> None:
    """It has a type of its own, which no receiver takes for a suspension."""
    body = orjson.loads(ping_body(1_795_312_800.0))

    assert body["type"] == "astray.test.ping"
    assert body["timestamp"] == "2026-11-22T02:00:00.000Z"


@pytest.mark.parametrize("character", ["a", "\x00", '"', "é", "\U0001f512"])
def test_a_name_of_the_longest_event_field_arrives_whole(character: str) -> None:
    """A receiver acts on the name of a session: a shortened one would suspend another.

    Only a name that is mostly characters JSON has to escape is cut.
    """
    name = character * (TEXT_BYTES_MAX // len(character.encode()))
    escaped = character in '\x00"'

    body = orjson.loads(suspend_body(make_decision(agent=name, session=name), 0.0))["data"]

    assert (body["agent"]["id"] == name) is not escaped
    assert (body["session"]["id"] == name) is not escaped
    assert name.startswith(body["session"]["id"].removesuffix("…"))


def test_long_texts_end_in_an_ellipsis_and_evidence_is_cut() -> None:
    """What is left out is left out at the end."""
    evidence = Evidence(
        "c" * 9000,
        "i" * 9000,
        "own",
        "s" * 9000,
        "u" * 9000,
        1.0,
        1.0,
        ("e" * 900,) * 99,
        "x" * 9000,
    )
    decision = make_decision(reason="r" * 9000, evidence=(evidence,) * 99)

    body = suspend_body(decision, 0.0)
    data = orjson.loads(body)["data"]

    assert len(body) <= BODY_BYTES_MAX
    assert data["reason"].endswith("r…")
    assert 1 <= len(data["evidence"]) <= EVIDENCE_MAX
    assert data["evidence"][0]["sentence"].endswith("x…")
    assert len(data["evidence"][0]["event_ids"]) == EVENT_IDS_MAX


def test_webhook_ids_are_the_same_for_ever() -> None:
    """They are written down here: were they to change, a replay would suspend twice."""
    case_id = make_decision().case

    ids = [webhook_id(case_id, endpoint) for endpoint in ("siem", "gateway")]

    assert ids == ["msg_71bdb43955fb9c7b", "msg_d4bee586fa14d781"]


# Long texts by repetition: drawing thousands of characters one by one takes too long.
LONG = st.builds(
    lambda piece, times: piece * times,
    st.text(min_size=1, max_size=4) | st.sampled_from(["\x00", '\\"', "\U0001f512", "\u2028"]),
    st.sampled_from([0, 1, 300, 5000]),
)
NUMBERS = st.floats(allow_nan=True)
EVIDENCE = st.builds(
    Evidence,
    LONG,
    LONG,
    LONG,
    LONG,
    LONG,
    NUMBERS,
    NUMBERS,
    st.lists(LONG, max_size=20).map(tuple),
    LONG,
)
TEXTS = (
    *("id", "case", "tenant", "agent", "session", "principal"),
    *("group", "kind", "event_id", "reason", "policy"),
)


@given(
    texts=st.fixed_dictionaries(dict.fromkeys(TEXTS, LONG)),
    numbers=st.fixed_dictionaries(dict.fromkeys(("score", "n", "limit"), NUMBERS)),
    evidence=st.lists(EVIDENCE, max_size=12).map(tuple),
)
def test_a_body_stays_below_twenty_kilobytes_and_is_the_same_every_time(
    texts: dict[str, Any], numbers: dict[str, Any], evidence: tuple[Evidence, ...]
) -> None:
    """Whatever a decision holds, it is JSON that a receiver takes."""
    decision = replace(make_decision(), **texts, **numbers, evidence=evidence)

    body = suspend_body(decision, 1e9)

    assert len(body) <= BODY_BYTES_MAX
    assert orjson.loads(body)["type"] == "astray.session.suspend"
    assert suspend_body(decision, 1e9) == body
