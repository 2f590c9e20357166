"""What tests draw from: events, lines that are nearly events, streams of several agents."""

import json

from hypothesis import strategies as st

from astray.events import Event, encode_event
from astray.events.schema import COUNT_MAX, DEPTH_MAX, KINDS, OUTCOMES

NOW_US = 1_795_312_800_000_000
"""The wall clock of the tests: 2026-11-22T02:00:00Z."""

names = st.sampled_from(["a", "b", "billing-bot", "größe", 'quo"te', "back\\slash", "\u2028", "🙂"])
optional_names = st.just("") | names


@st.composite
def events(draw, agents=names):
    """Draw an event with any of its fields."""
    return Event(
        ts_us=draw(st.integers(0, NOW_US)),
        agent=draw(agents),
        action=draw(names),
        session=draw(optional_names),
        resources=tuple(draw(st.lists(names, max_size=4))),
        outcome=draw(st.sampled_from(OUTCOMES)),
        source=draw(optional_names),
        principal=draw(optional_names),
        target_agent=draw(optional_names),
        bytes=draw(st.integers(0, COUNT_MAX)),
        count=draw(st.integers(0, COUNT_MAX)),
        delegation_depth=draw(st.integers(0, DEPTH_MAX)),
        tenant=draw(optional_names),
        group=draw(optional_names),
        kind=draw(st.sampled_from(KINDS)),
        event_id=draw(optional_names),
        session_end=draw(st.booleans()),
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_FIELDS = [
    "ts",
    "agent",
    "action",
    "session",
    "resource",
    "resources",
    "outcome",
    "source",
    "principal",
    "target_agent",
    "bytes",
    "count",
    "tenant",
    "group",
    "kind",
    "event_id",
    "session_end",
    "delegation_depth",
    "attrs",
    "unknown",
]


@st.composite
def json_like_lines(draw):
    """Draw JSON objects whose known fields hold anything."""
    record = {name: draw(_JSON) for name in draw(st.lists(st.sampled_from(_FIELDS), unique=True))}
    return json.dumps(record, ensure_ascii=draw(st.booleans())).encode()


_BITS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"1", b"-", b".", b"e5", b"null", b"true",
    b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b" ", b"\t", b"\x00", b'"ts":1,',
    b'"resources":["x"],', b'""', b"NaN", b"00", b"\xc0\xaf", b"\\u00e9", b"\\ud800", b"\r",
]  # fmt: skip


@st.composite
def damaged_lines(draw):
    """Draw a good line with one to three small damages."""
    line = bytearray(encode_event(draw(events())))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        cut = draw(st.integers(0, 5))
        line[at : at + cut] = draw(st.sampled_from(_BITS) | st.binary(max_size=3))
    return bytes(line).replace(b"\n", b" ")


any_lines = (
    st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b" "))
    | json_like_lines()
    | damaged_lines()
    | events().map(encode_event)
)
