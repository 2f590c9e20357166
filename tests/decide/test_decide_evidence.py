"""Evidence: what made the score, in shares that add up and sentences that read well."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.findings import FINDINGS_MAX
from astray.baseline.layout import (
    CHANNELS,
    FIRST_TOTAL,
    LEVELS,
    NOVELTY_CHANNELS,
    STATISTICS,
    TOTALS,
)
from astray.baseline.records import Finding
from astray.decide import wording
from astray.decide.evidence import evidence_of
from astray.events import Event, encode_event
from made import HOUR_US, START_US, row_of
from strategies import any_lines, events

BOT = Event(ts_us=START_US, agent="bot", action="read", session="s", event_id="e9")
SHOWN = Event(
    ts_us=START_US,
    agent="bot",
    action="db.read",
    session="s",
    resources=("db://a", "db://b"),
    source="10.0.0.9",
    principal="jane",
    target_agent="mailer",
    event_id="e4",
)


def finding(channel="action", level="agent", *, bits=4.0, rate=1 / 240, place=-1, line=None):
    """Return something new on a channel; the line shows it unless another is given."""
    shown = encode_event(SHOWN) if line is None else line
    return Finding(bits, CHANNELS.index(channel), LEVELS.index(level), place, rate, rate, 0, shown)


def told(bits, *findings, event=BOT, **values):
    """Return the evidence of a session whose statistics have these bits."""
    each = np.zeros(len(STATISTICS), np.float32)
    for name, value in bits.items():
        each[STATISTICS.index(name)] = value
    return evidence_of(row_of(event, **values), each, findings, event)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (finding("action"), "bot did db.read, which it had never done; 1 in 240 of its actions is new to it"),
        (finding("action", "group"), "bot did db.read, which no agent of its group had ever done; 1 in 240 of its actions is new to it"),
        (finding("action", "fleet"), "bot did db.read, which nobody in the fleet had ever done; 1 in 240 of its actions is new to it"),
        (finding("transition", rate=1 / 13), "bot took a step to db.read that it had never taken; 1 in 13 of its steps is new to it"),
        (finding("resource", place=1), "bot touched db://b, which it had never touched; 1 in 240 of its resources is new to it"),
        (finding("pair", place=0), "bot did db.read on db://a, which it had never done; 1 in 240 of its uses of resources is new to it"),
        (finding("source"), "bot came from 10.0.0.9, which it had never come from; 1 in 240 of its sources is new to it"),
        (finding("principal"), "bot acted for jane, whom it had never acted for; 1 in 240 of its principals is new to it"),
        (finding("callee", "group"), "bot called mailer, which no agent of its group had ever called; 1 in 240 of its callees is new to it"),
        (finding("action", rate=0.8), "bot did db.read, which it had never done; most of its actions are new to it"),
        (finding("action", rate=0.5), "bot did db.read, which it had never done; 1 in 2 of its actions is new to it"),
        (finding("action", rate=0.0), "bot did db.read, which it had never done; 1 in 10,000 of its actions is new to it"),
        (finding("action", line=b"{}"), "bot did an action, which it had never done; 1 in 240 of its actions is new to it"),
        (finding("transition", line=b"{}"), "bot took a step to an action that it had never taken; 1 in 240 of its steps is new to it"),
        (finding("resource", place=2), "bot touched a resource, which it had never touched; 1 in 240 of its resources is new to it"),
        (finding("pair", place=7), "bot did something on a resource, which it had never done; 1 in 240 of its uses of resources is new to it"),
        (finding("source", line=encode_event(BOT)), "bot came from a source, which it had never come from; 1 in 240 of its sources is new to it"),
        (finding("principal", line=encode_event(BOT)), "bot acted for somebody, whom it had never acted for; 1 in 240 of its principals is new to it"),
        (finding("callee", line=encode_event(BOT)), "bot called an agent, which it had never called; 1 in 240 of its callees is new to it"),
    ],
    ids=lambda value: value if isinstance(value, str) else CHANNELS[value.channel],
)  # fmt: skip
def test_what_was_new_reads_well(found, sentence):
    """What was done, to whom it is new, and how often this agent meets something new."""
    (reason,) = told({"novelty_largest": 5.0}, found)

    assert reason.sentence == sentence
    assert (reason.share, reason.bits) == (1.0, 4.0)


def test_what_was_new_is_named_with_its_event():
    """An analyst finds the very thing and the event; of a pair the thing is the resource."""
    (pair,) = told({"novelty_sum": 3.0}, finding("pair", "group", place=1))
    (bare,) = told(
        {"novelty_sum": 3.0},
        finding("source", line=encode_event(SHOWN).replace(b'"event_id":"e4"', b'"x":1')),
    )

    assert (pair.channel, pair.level) == ("pair", "group")
    assert (pair.item, pair.seen, pair.event_ids) == ("db://b", "db.read on db://b", ("e4",))
    assert (bare.item, bare.seen, bare.event_ids) == ("10.0.0.9", "10.0.0.9", ())


EXPECTED = {"expected": np.log1p(4.0), "spread": 0.5}
"""Usually 4; in 99 of 100 sessions less than 5 * e**(2.326 / 2) - 1 = 15."""

NOTHING = {"expected": 0.0, "spread": 0.0}


@pytest.mark.parametrize(
    ("total", "value", "usual", "sentence"),
    [
        ("events", 87, EXPECTED, "bot had 87 events in this session; usually about 4, and fewer than 15 in 99 of 100 sessions"),
        ("events", 1, NOTHING, "bot had 1 event in this session; none in 99 of 100 sessions"),
        ("bytes", 12_340_000, EXPECTED, "bot moved 12.3 MB in this session; usually about 4 B, and less than 15 B in 99 of 100 sessions"),
        ("bytes", 50, {"expected": 0.0, "spread": 0.5}, "bot moved 50 B in this session; usually none, and less than 3 B in 99 of 100 sessions"),
        ("bytes", 912, NOTHING, "bot moved 912 B in this session; none in 99 of 100 sessions"),
        ("bytes", 5e6, {"expected": np.log1p(1e6), "spread": 0.0}, "bot moved 5 MB in this session; usually a little under 1 MB, and less than 1 MB in 99 of 100 sessions"),
        ("largest", 7_470_000, EXPECTED, "bot moved 7.47 MB in one event of this session; usually about 4 B, and less than 15 B in 99 of 100 sessions"),
        ("failures", 2, {"expected": 0.1, "spread": 0.5}, "bot had 2 failures in this session; usually none, and fewer than 3 in 99 of 100 sessions"),
        ("failures", 1, NOTHING, "bot had 1 failure in this session; none in 99 of 100 sessions"),
        ("denials", 1, NOTHING, "bot had 1 denial in this session; none in 99 of 100 sessions"),
        ("denials", 1234, EXPECTED, "bot had 1,234 denials in this session; usually about 4, and fewer than 15 in 99 of 100 sessions"),
        ("burst", 7.4, {"expected": np.log1p(3.8), "spread": 0.0}, "bot had up to 7 events within 10 s; usually about 4, and fewer than 5 in 99 of 100 sessions"),
        ("burst", 1.0, NOTHING, "bot had up to 1 event within 10 s; none in 99 of 100 sessions"),
        ("new_items", 20, EXPECTED, "bot met 20 things that were new to it in this session; usually about 4, and fewer than 15 in 99 of 100 sessions"),
        ("new_items", 1, NOTHING, "bot met 1 thing that was new to it in this session; none in 99 of 100 sessions"),
        ("callees", 31, EXPECTED, "bot called 31 agents in this session; usually about 4, and fewer than 15 in 99 of 100 sessions"),
        ("depth", 5, NOTHING, "bot acted in this session at the end of a chain of 5 agents; none in 99 of 100 sessions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_total_reads_well(total, value, usual, sentence):
    """How much there was, how much is usual, with units and the right number."""
    place = TOTALS.index(total)
    expected, spread = np.zeros(len(TOTALS)), np.zeros(len(TOTALS))
    expected[place], spread[place] = usual["expected"], usual["spread"]

    (reason,) = told({total: 6.0}, expected=expected, spread=spread, **{total: value})

    assert reason.sentence == sentence
    assert (reason.channel, reason.level, reason.bits) == (total, "agent", 6.0)
    assert reason.event_ids == ("e9",)
    assert reason.sentence.endswith(reason.usual)
    assert reason.seen in reason.sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("impersonation_action", "bot: what it does is more typical of its group than of itself"),
        ("impersonation_transition", "bot: the order in which it acts is more typical of its group than of itself"),
    ],
)  # fmt: skip
def test_whom_a_session_looks_like_reads_well(name, sentence):
    """More like its group than like itself, by how much, and what is usual."""
    # The statistics share their names with the values of a row.
    (reason,) = told({name: 6.0}, **{name: 0.333})

    assert reason.sentence == sentence
    assert (reason.seen, reason.usual) == ("0.33 bits an event towards its group", "about 0")


@pytest.mark.parametrize(
    ("hours", "when"),
    [
        (0, "at the weekend between 02:00 and 03:00 UTC"),
        (21, "at the weekend between 23:00 and 00:00 UTC"),
        (22, "on a weekday between 00:00 and 01:00 UTC"),
        (22 + 5 * 24 - 1, "on a weekday between 23:00 and 00:00 UTC"),
        (22 + 5 * 24, "at the weekend between 00:00 and 01:00 UTC"),
    ],
    ids=["Sunday at two", "the last hour of Sunday", "Monday", "the last hour of Friday", "Saturday"],
)  # fmt: skip
def test_an_odd_hour_reads_well(hours, when):
    """When the session began, on which kind of day; START_US is a Sunday at two."""
    (reason,) = told({"rhythm": 4.0}, start_us=START_US + hours * HOUR_US + HOUR_US - 1)

    assert reason.sentence == f"bot began this session {when}, when it is rarely active"


@pytest.mark.parametrize(
    ("silence", "usual", "sentence"),
    [
        (86_400.0 * 61, 86_400.0 * 3, "bot began this session after 61 days of silence; usually it is silent for 3 days at most"),
        (3600.0 * 30, 3600.0 * 2, "bot began this session after 30 h of silence; usually it is silent for 2 h at most"),
    ],
    ids=["days", "hours"],
)  # fmt: skip
def test_a_wake_after_a_long_silence_reads_well(silence, usual, sentence):
    """How long the agent was silent, and how long it usually is at most."""
    logs = {"silence": np.log2(1.0 + silence), "usual_silence": np.log2(1.0 + usual)}

    (reason,) = told({"dormancy": 3.0}, **logs)

    assert reason.sentence == sentence
    assert (reason.channel, reason.bits, reason.share) == ("dormancy", 3.0, 1.0)


@pytest.mark.parametrize(
    ("marks", "sentence", "item"),
    [
        (1, "bot did db.read on db://b, which is sensitive and not what it usually does", "db.read"),
        (0, "bot did something, which is sensitive and not what it usually does", ""),
    ],
    ids=["kept", "not kept"],
)  # fmt: skip
def test_what_is_sensitive_reads_well(marks, sentence, item):
    """The sensitive event that was most surprising is told, where it has been kept."""
    other = finding("source", bits=9.0)
    (reason,) = [
        reason
        for reason in told(
            {"sensitive": 3.0, "novelty_sum": 1.0},
            other,
            finding("resource", place=1)._replace(marks=marks),
        )
        if reason.channel == "sensitive"
    ]

    assert (reason.sentence, reason.item, reason.bits) == (sentence, item, 3.0)


def test_a_score_divides_by_the_squares_of_its_bits():
    """Nine parts of sixteen, four and three: the weightiest first."""
    found = told({"denials": 3.0, "rhythm": 2.0, "events": np.sqrt(3)})

    assert [reason.channel for reason in found] == ["denials", "rhythm", "events"]
    assert [reason.share for reason in found] == pytest.approx([9 / 16, 4 / 16, 3 / 16])


def test_what_novelty_has_is_divided_by_the_bits_of_what_was_new():
    """The four most surprising things are told, and have all of novelty's share."""
    findings = [finding("action", bits=bits) for bits in (5.0, 3.0, 1.0, 1.0, 1.0)]

    found = told({"novelty_largest": 1.0, "novelty_sum": 1.0, "denials": 2**0.5}, *findings)

    shares = [reason.share for reason in found if reason.channel == "action"]
    assert shares == pytest.approx([0.25, 0.15, 0.05, 0.05])


def test_novelty_without_a_single_thing_is_told_as_a_whole():
    """Many things, each of them a little new."""
    (reason,) = told({"novelty_sum": 4.0, "novelty_peers": 3.0}, new_items=45)

    assert (
        reason.sentence == "bot met 45 things that were new to it; no single one of them says much"
    )
    assert (reason.channel, reason.share, reason.bits) == ("novelty", 1.0, 4.0)


def test_what_weighs_next_to_nothing_is_divided_among_the_rest():
    """Under one in a hundred in all: nobody reads of it, and the shares still add up."""
    found = told({"denials": 10.0, "rhythm": 0.9})

    assert [(reason.channel, reason.share) for reason in found] == [("denials", 1.0)]


def test_many_small_things_are_one_reason():
    """Each under one in a hundred, and more together: they are not passed over."""
    found = told({"denials": 10.0, "rhythm": 0.9, "events": 0.9, "bytes": 0.9})

    assert [reason.channel for reason in found] == ["denials", "other"]
    assert found[1].share == pytest.approx(3 * 0.81 / (100 + 3 * 0.81))
    assert (
        found[1].sentence == "bot did more that is a little unusual, each thing too little to tell"
    )


def test_without_bits_there_is_no_evidence():
    """A session of which nothing is unusual."""
    assert told({}, finding()) == ()


odd_lines = any_lines | st.just(b"{}") | events().map(encode_event)
odd_findings = st.lists(
    st.builds(
        Finding,
        bits=st.floats(0, 40),
        channel=st.integers(0, NOVELTY_CHANNELS - 1),
        level=st.integers(0, len(LEVELS) - 1),
        place=st.integers(-1, 32),
        rate=st.floats(0, 1),
        peer_rate=st.floats(0, 1),
        line=odd_lines,
    ),
    max_size=FINDINGS_MAX,
)
bits = st.lists(st.sampled_from([0.0, 1e-3, 0.4]) | st.floats(0, 20, width=32), min_size=len(STATISTICS), max_size=len(STATISTICS))  # fmt: skip
values = st.lists(st.floats(0, 2**53) | st.floats(0, 3), min_size=len(TOTALS), max_size=len(TOTALS))
logs = st.lists(st.floats(-5, 2000), min_size=len(TOTALS), max_size=len(TOTALS))


_ODD = (
    "nan",
    "inf ",
    "None",
    "usual are",
    "  ",
    " 1 events",
    " 1 failures",
    " 1 denials",
    "about 0",
)


@given(events(), bits, odd_findings, values, logs, logs)
def test_evidence_is_whole_whatever_the_session(event, bits, findings, total, expected, spread):
    """Nothing raises; shares are positive, fall, and add up to 1; every sentence says something."""
    row = row_of(event, total=total, expected=expected, spread=np.abs(spread))

    found = evidence_of(row, np.array(bits, np.float32), findings, event)

    shares = [reason.share for reason in found]
    assert not found or sum(shares) == pytest.approx(1.0, abs=1e-6)
    assert all(share > 0 for share in shares)
    own = [reason.share for reason in found if reason.channel != "other"]
    assert own == sorted(own, reverse=True)
    for reason in found:
        assert reason.sentence.startswith(event.agent)
        told_of = reason.sentence.removeprefix(event.agent)
        if reason.channel in TOTALS:  # other sentences name things as events do
            assert not [odd for odd in _ODD if odd in told_of]
    assert bool(found) == (sum(bits) > 0)


def test_the_examples_of_wording_are_true():
    """What its docstrings show is what it says."""
    failed, tried = doctest.testmod(wording)

    assert failed == 0
    assert tried > 0


def test_every_statistic_is_told_of():
    """Whatever a score rests on, there is a sentence for it."""
    for place, name in enumerate(STATISTICS):
        (reason,) = told({name: 3.0})
        assert reason.channel == ("novelty" if place < FIRST_TOTAL - 2 else name)
