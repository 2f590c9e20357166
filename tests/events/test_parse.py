"""The parser: what an event is, case by case."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.events import Event, Reason, Reject, encode_event, known_names, parse_line
from strategies import NOW_US, any_lines, events

_MINIMAL = {"ts": 1_795_000_000, "agent": "a", "action": "read"}


def _parse(**fields):
    record = _MINIMAL | fields
    return parse_line(orjson.dumps(record), NOW_US)


def test_a_minimal_event_has_every_default():
    """Time, agent and action are enough."""
    event = _parse()

    assert event == Event(ts_us=1_795_000_000_000_000, agent="a", action="read")
    assert (event.count, event.bytes, event.outcome, event.kind) == (1, 0, "unknown", "unknown")


def test_unknown_keys_and_nulls_are_as_if_they_were_not_there():
    """A producer may send more than astray reads, and null for what it does not know."""
    event = _parse(colour="red", attrs={"x": [1]}, session=None, bytes=None, resource=None)

    assert event == _parse()


def test_resource_and_resources_are_taken_together():
    """One resource, several, or both."""
    assert _parse(resource="x").resources == ("x",)
    assert _parse(resource="x", resources=["y", "", "z"]).resources == ("x", "y", "z")


@pytest.mark.parametrize(
    ("fields", "reason", "key"),
    [
        ({"ts": None}, Reason.MISSING_FIELD, "ts"),
        ({"agent": ""}, Reason.MISSING_FIELD, "agent"),
        ({"action": None}, Reason.MISSING_FIELD, "action"),
        ({"agent": 7}, Reason.WRONG_TYPE, "agent"),
        ({"ts": True}, Reason.WRONG_TYPE, "ts"),
        ({"ts": "soon"}, Reason.BAD_TIME, "ts"),
        ({"ts": -1}, Reason.BAD_TIME, "ts"),
        ({"ts": 4_000_000_000}, Reason.FUTURE_TIME, "ts"),
        ({"bytes": -1}, Reason.BAD_NUMBER, "bytes"),
        ({"bytes": 1.5}, Reason.BAD_NUMBER, "bytes"),
        ({"bytes": 1e300}, Reason.BAD_NUMBER, "bytes"),
        ({"bytes": "12"}, Reason.WRONG_TYPE, "bytes"),
        ({"count": True}, Reason.WRONG_TYPE, "count"),
        ({"outcome": "meh"}, Reason.BAD_VALUE, "outcome"),
        ({"kind": "human"}, Reason.BAD_VALUE, "kind"),
        ({"session": "s" * 1025}, Reason.TOO_LONG, "session"),
        ({"session": "ß" * 513}, Reason.TOO_LONG, "session"),
        ({"resources": ["r"] * 33}, Reason.TOO_MANY_RESOURCES, "resources"),
        ({"resources": "r"}, Reason.WRONG_TYPE, "resources"),
        ({"resources": [1]}, Reason.WRONG_TYPE, "resources"),
        ({"session_end": 1}, Reason.WRONG_TYPE, "session_end"),
        ({"attrs": "x" * 300_000}, Reason.OVERSIZED, ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_event_has_a_reason_and_names_the_key(fields, reason, key):
    """A refused line says why and where."""
    reject = _parse(**fields)

    assert isinstance(reject, Reject)
    assert (reject.reason, reject.key) == (reason, key)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"hello", Reason.NOT_JSON),
        (b'{"ts":NaN}', Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_JSON),
        (b'"text"', Reason.NOT_OBJECT),
        (b"[1]", Reason.NOT_OBJECT),
    ],
)
def test_what_is_no_json_object_is_refused(raw, reason):
    """A line is one JSON object."""
    reject = parse_line(raw, NOW_US, offset=12)

    assert reject == Reject(reason, "", 12, raw)


def test_limits_are_inclusive():
    """The longest text, the most resources and the largest number are still good."""
    event = _parse(session="s" * 1024, resources=["r"] * 32, bytes=2**53, count=0)

    assert isinstance(event, Event)


@pytest.mark.parametrize(
    ("given", "depth"), [(None, 0), (3, 3), (255, 255), (256, 255), (2**53, 255)]
)
def test_a_chain_is_as_deep_as_can_be_told_apart(given, depth):
    """Whatever is deeper than the deepest counts as that."""
    assert _parse(delegation_depth=given).delegation_depth == depth


def test_a_byte_order_mark_is_no_part_of_the_line():
    """Files written on Windows begin with one."""
    assert parse_line(b"\xef\xbb\xbf" + orjson.dumps(_MINIMAL), NOW_US) == _parse()


@given(any_lines)
def test_any_bytes_are_an_event_or_a_reject(raw):
    """Nothing a source can say raises, and a reject keeps the bytes."""
    found = parse_line(raw, NOW_US)

    assert isinstance(found, Event) or (isinstance(found, Reject) and found.raw == raw)


@given(events())
def test_parsing_what_was_encoded_gives_it_back(event):
    """Encoding loses nothing."""
    assert parse_line(encode_event(event), NOW_US) == event


@given(events(), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_the_names_of_an_event_are_read_on_their_own(event, mark):
    """They are those of the whole event, also where texts are null or missing."""
    names = known_names(mark + encode_event(event))

    assert names == (event.agent, event.action, event.tenant, event.session)
    assert known_names(b'{"ts":1,"tenant":null,"agent":"a","action":"b"}') == ("a", "b", "", "")
