"""What an event is: schema, bytes to columns or a reject, stable ids."""

from astray.events.columns import EVENT, Rows
from astray.events.decoding import Chunk, Decoded, decode
from astray.events.lines import Lines
from astray.events.parse import ANY_TIME_US, encode_event, known_event, known_names, parse_line
from astray.events.schema import Event, Reason, Reject

__all__ = [
    "ANY_TIME_US",
    "EVENT",
    "Chunk",
    "Decoded",
    "Event",
    "Lines",
    "Reason",
    "Reject",
    "Rows",
    "decode",
    "encode_event",
    "known_event",
    "known_names",
    "parse_line",
]
