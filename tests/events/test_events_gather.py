"""What crosses to another process: chosen events with their own lines, and nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astray.events import Chunk, Decoded, Event, decode, encode_event
from strategies import NOW_US

_EVENTS = st.lists(
    st.builds(
        Event,
        ts_us=st.integers(1, NOW_US),
        agent=st.text("aä\U0001f600", min_size=1, max_size=4),
        action=st.sampled_from(["read", "wr\\ite", 'say "x"']),
        resources=st.lists(st.text("/xyz", min_size=1, max_size=5), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


def decoded_of(events: list[Event]) -> Decoded:
    """Decode events as lines, between which something is rejected."""
    data = b"no event\n".join(encode_event(event) + b"\n" for event in events)
    return decode(Chunk("here", 7, data), NOW_US)


def told(decoded: Decoded, row: int) -> tuple:
    """Return an event, its resources and its line."""
    event = decoded.rows[row].copy()
    first, event["resource_first"] = int(event["resource_first"]), 0
    resources = decoded.resources[first : first + int(event["resource_count"])]
    return event.item(), resources.tolist(), decoded.line(row)


@given(_EVENTS, st.data())
def test_chosen_events_are_what_their_lines_decode_to(events, data):
    """Events, resources and lines of a choice are those of a chunk of the chosen lines."""
    decoded = decoded_of(events)
    places = sorted(data.draw(st.sets(st.integers(0, len(events) - 1))))

    only = decoded.only(np.array(places, np.intp))

    lines = [decoded.line(place) for place in places]
    alone = decode(Chunk("here", 0, b"".join(line + b"\n" for line in lines)), NOW_US)
    assert only.chunk == alone.chunk
    assert [told(only, row) for row in range(len(places))] == [
        told(alone, row) for row in range(len(places))
    ]
