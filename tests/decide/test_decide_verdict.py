"""A verdict as a line of JSON: what is read, what is refused, and that nothing is lost on the way."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.decide.verdict import (
    TEXT_BYTES_MAX,
    TTL_MAX_S,
    Said,
    Scope,
    Verdict,
    parse_verdict,
    ttl_of,
    ttl_text,
)
from strategies import NOW_US

CASE = "case_6e68c33234525943"
LINE = {
    "type": "astray.verdict",
    "ts": "2026-11-22T02:10:00Z",
    "alert_id": CASE,
    "verdict_id": 1,
    "verdict": "False Positive",
    "analyst": "kim@example.com",
    "scope": "group",
    "comment": "new reporting job",
    "ttl": "P30D",
}

texts = st.text(min_size=1, max_size=40)
shared = {"case": st.just(CASE), "who": texts, "ts_us": st.integers(0, 2 * NOW_US), "note": texts}
verdicts = st.one_of(
    st.builds(Verdict, **shared, said=st.just(Said.TRUE_POSITIVE)),
    st.builds(
        Verdict,
        **shared,
        said=st.sampled_from([Said.FALSE_POSITIVE, Said.BENIGN_CHANGE]),
        scope=st.sampled_from(Scope),
        ttl_s=st.none() | st.integers(1, TTL_MAX_S),
    ),
    st.builds(Verdict, **shared, said=st.just(Said.UNDO), undoes=texts),
)


def line(**changes: object) -> bytes:
    """Return the example with changes; what is changed to ... is left out."""
    return orjson.dumps({key: value for key, value in {**LINE, **changes}.items() if value != ...})


def test_the_example_is_read() -> None:
    """Every field of the form has its place."""
    assert parse_verdict(line()) == Verdict(
        case=CASE,
        said=Said.FALSE_POSITIVE,
        who="kim@example.com",
        ts_us=1_795_313_400_000_000,
        note="new reporting job",
        scope=Scope.GROUP,
        ttl_s=30 * 86_400,
    )


def test_a_short_line_says_enough() -> None:
    """A false positive is the agent's, for good, unless it says otherwise."""
    given = parse_verdict(line(scope=..., ttl=..., comment=..., verdict=...))

    assert isinstance(given, Verdict)
    assert (given.scope, given.ttl_s, given.note) == (Scope.AGENT, None, "")


@given(verdicts)
def test_what_is_written_is_read_again(verdict: Verdict) -> None:
    """A verdict and its id survive the way through JSON, with whatever else is in the line."""
    written = orjson.dumps(verdict.as_dict({"agent": "billing-bot"}))

    assert parse_verdict(written) == verdict
    assert orjson.loads(written)["id"] == verdict.id


@given(verdicts, verdicts)
def test_different_verdicts_have_different_ids(one: Verdict, other: Verdict) -> None:
    """The id is made of all that a verdict says."""
    assert (one.id == other.id) == (one == other)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"type": "nhi.verdict"}, "type is not astray.verdict"),
        ({"alert_id": ...}, "alert_id is not a text"),
        ({"alert_id": "case_1"}, "alert_id is not the id of a case"),
        ({"analyst": ""}, "analyst is not a text"),
        ({"analyst": "a" * (TEXT_BYTES_MAX + 1)}, "analyst has more than 1024 bytes"),
        ({"comment": "ä" * TEXT_BYTES_MAX}, "comment has more than 1024 bytes"),
        ({"comment": 1}, "comment is neither a text nor null"),
        ({"ts": 5}, "ts is not a text"),
        ({"ts": "yesterday"}, "ts is not a time"),
        ({"ts": "1960-01-01T00:00:00Z"}, "ts is not a time"),
        (
            {"verdict_id": 3},
            "verdict_id is none of 1 (False Positive), 2 (True Positive), 5 (Benign), 99 (Undo)",
        ),
        (
            {"verdict_id": True},
            "verdict_id is none of 1 (False Positive), 2 (True Positive), 5 (Benign), 99 (Undo)",
        ),
        ({"verdict_id": 2}, "scope and ttl are of false positives and benign changes only"),
        (
            {"verdict_id": 2, "scope": ...},
            "scope and ttl are of false positives and benign changes only",
        ),
        ({"scope": "fleet"}, "scope is neither agent nor group"),
        ({"scope": ["agent"]}, "scope is neither a text nor null"),
        ({"ttl": 30}, "ttl is neither a text nor null"),
        ({"ttl": "P4000D"}, "ttl is not a time span like P30D, of ten years at most"),
        ({"ttl": "P1M"}, "ttl is not a time span like P30D, of ten years at most"),
        (
            {"verdict_id": 99, "scope": ..., "ttl": ...},
            "undoes is the id of a verdict where verdict_id is 99, and null elsewhere",
        ),
        (
            {"undoes": "ver_1"},
            "undoes is the id of a verdict where verdict_id is 99, and null elsewhere",
        ),
    ],
)
def test_what_is_no_verdict_is_told(changes: dict[str, object], problem: str) -> None:
    """Each has its reason, which does not repeat what is in the line."""
    assert parse_verdict(line(**changes)) == problem


def test_other_lines_are_told_as_well() -> None:
    """Not JSON, not an object."""
    assert parse_verdict(b"verdict") == "not JSON"
    assert parse_verdict(b"[1]") == "not an object"


json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*LINE, "undoes", "id"]), json) | st.binary(max_size=30))
def test_any_line_is_a_verdict_or_a_reason(changes: dict[str, object] | bytes) -> None:
    """Nothing that is read raises, and what is taken can be written."""
    raw = changes if isinstance(changes, bytes) else line(**changes)

    parsed = parse_verdict(raw)

    assert parsed if isinstance(parsed, str) else parse_verdict(orjson.dumps(parsed.as_dict({})))


@given(st.integers(1, TTL_MAX_S))
def test_time_spans_come_back_as_they_were(seconds: int) -> None:
    """What is written of a span is read as the same span."""
    assert ttl_of(ttl_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "30D", "P-1D", "P1Y", "P0D", "PT1H1D", " P1D"])
def test_what_is_no_time_span_is_none(text: str) -> None:
    """Months and years have no fixed length; nothing is no span."""
    assert ttl_of(text) is None


def test_all_units_of_a_span_count() -> None:
    """Weeks, days, hours, minutes and seconds add up."""
    assert ttl_of("P1W2DT3H4M5S") == 9 * 86_400 + 3 * 3600 + 4 * 60 + 5
