"""Sensitive actions and resources: what is new about them counts as evidence of its own."""

import dataclasses

import numpy as np
import pytest

from astray.baseline.layout import SENSITIVE
from astray.baseline.rehearsal import FIRST_ROW, KINDS
from astray.baseline.shard import Shard
from astray.decide.decider import Decider
from astray.decide.limits import tag_patterns
from astray.flow.tagging import Tagger
from core import SOURCE, Core, decoded, new_shard, part_for, small_config
from made import DAY_US
from weekly import AGENTS, DAYS, START_US, fleet, watched

TAGS = {"actions": ["secrets.*"], "resources": ["*payroll*"]}


def last_day(seen):
    """Return what was ranked of the last day's sessions: statistic and score, sorted."""
    first_us = START_US + (DAYS - 1) * DAY_US
    found = [
        (float(row["statistic"][SENSITIVE]), float(score))
        for ranked in seen
        for row, score in zip(ranked.rows, ranked.scores, strict=True)
        if row["row"] < 0 and row["start_us"] >= first_us
    ]
    return sorted(found, reverse=True)


NEW = [(number, (f"new-{number}", "db/a")) for number in range(AGENTS)]


@pytest.mark.parametrize("act", [("secrets.read", "db/a"), ("read", "db/payroll")])
@pytest.mark.parametrize("rehearsals", [0, 2])
def test_who_does_something_sensitive_for_the_first_time_stands_out(act, rehearsals):
    """Everybody does something new on a day; for one of them that is sensitive."""
    last = [*NEW[1:], (0, act)]
    events = fleet(last=last)
    reference = {"rehearsals": rehearsals}

    tagged = last_day(watched(small_config(sensitive=TAGS, reference=reference), events)[1])
    plain = last_day(watched(small_config(reference=reference), events)[1])

    (bits, score), *peers = tagged
    assert bits > 5.0
    assert {value for value, _ in peers} == {0.0}
    assert score > np.median([other for _, other in peers]) + 10.0
    assert {value for value, _ in plain} == {0.0}
    assert score > np.median([other for _, other in plain]) + 10.0


def test_a_fleet_that_does_nothing_sensitive_is_as_it_was():
    """Tags that nobody earns change no score and no byte of what is learnt, but for rehearsals."""
    events, reference = fleet(days=20), {"rehearsals": 0}

    tagged, seen, _ = watched(small_config(sensitive=TAGS, reference=reference), events)
    plain, seen_plain, _ = watched(small_config(reference=reference), events)

    assert [one.rows.tobytes() for one in seen] == [one.rows.tobytes() for one in seen_plain]
    assert [one.n.tolist() for one in seen] == [one.n.tolist() for one in seen_plain]
    assert tagged.shards[0].dump() == plain.shards[0].dump()


def test_sensitive_work_that_is_usual_is_no_evidence():
    """Who reads secrets every day is not odd for it."""
    events = [
        dataclasses.replace(event, action="secrets.read" if event.action == "read" else "write")
        for event in fleet(days=20)
    ]

    _, seen, _ = watched(small_config(sensitive=TAGS), events)

    usual = [row for one in seen for row in one.rows if row["row"] < 0 and row["age"] > 0]
    assert len(usual) > 100
    assert not any(row["statistic"][SENSITIVE] for row in usual)


def test_it_is_told_with_its_event_and_in_words():
    """What was done, that it is sensitive, and which event shows it."""
    config = small_config(sensitive=TAGS, default_policy={"alert": {"score": 40.0}})

    _, _, decisions = watched(config, fleet(last=[(0, ("secrets.read", "vault/root"))]))

    (told,) = [
        reason
        for decision in decisions
        if decision.agent == "bot-0" and decision.ts_us >= START_US + (DAYS - 1) * DAY_US
        for reason in decision.evidence
        if reason.channel == "sensitive"
    ]
    sentence = "did secrets.read on vault/root, which is sensitive and not what it usually does"
    assert told.sentence == f"bot-0 {sentence}"
    assert (told.item, told.seen) == ("secrets.read", "secrets.read on vault/root")
    assert told.event_ids[0].startswith(f"e0-{DAYS - 1}-")
    assert told.share > 0.1
    assert told.bits > 5.0


def test_what_policies_forbid_is_something_else():
    """A sensitive event is beyond no hard limit, and a forbidden one is not sensitive."""
    limits = {"forbidden_actions": ["drop.*"], "then": "alert"}
    config = small_config(sensitive=TAGS, default_policy={"limits": limits})
    last = [(0, ("secrets.read", "db/a")), (1, ("drop.table", "db/a"))]

    _, seen, decisions = watched(config, fleet(days=5, last=last))

    assert {decision.agent for decision in decisions} == {"bot-1"}
    rows = [row for one in seen for row in one.rows]
    assert {int(row["tags"]) for row in rows} == {0, 1}
    assert not any(row["statistic"][SENSITIVE] for row in rows if row["tags"])


@pytest.mark.parametrize("sensitive", [TAGS, {}], ids=["tagged", "not"])
def test_attacks_are_rehearsed_with_sensitive_actions(sensitive):
    """Experts learn what new behaviour looks like that is sensitive, where anything is."""
    config = small_config(sensitive=sensitive, reference={"rehearsals": 4})
    shard, chunk = new_shard(config), decoded(fleet(days=8))
    part = part_for(shard, chunk, np.arange(len(chunk.rows)), Tagger(tag_patterns(config)))

    rows = np.concatenate([some.rows for some in shard.assess(part)])

    attacks = rows[rows["row"] <= FIRST_ROW]
    kinds = FIRST_ROW - attacks["row"][attacks["statistic"][:, SENSITIVE] > 0]
    assert set(kinds.tolist()) == ({KINDS.index("new_behaviour")} if sensitive else set())


@pytest.mark.parametrize("batch", [1, 7])
def test_batches_and_a_restored_state_change_nothing(batch):
    """Marks of what was found in open sessions are kept with it."""
    config = small_config(sensitive=TAGS)
    events = [
        dataclasses.replace(event, session_end=False)
        for event in fleet(days=8, last=[(n, ("secrets.read", "vault")) for n in range(AGENTS)])
    ]
    whole, parts, resumed = Core(config), Core(config), Core(config)
    whole.feed(events)

    parts.feed(events, batch)
    resumed.feed(events[:-9], batch)
    *states, decider = resumed.dump()
    resumed.shards = [Shard.load(state, resumed.shards[0].settings, [SOURCE]) for state in states]
    resumed.decider = Decider.load(decider, config)
    resumed.feed(events[-9:], batch)

    assert whole.dump() == parts.dump() == resumed.dump()
    kept = whole.shards[0].findings.dump()
    assert any(finding[-1] for _, findings in kept for finding in findings)
    assert np.count_nonzero(whole.shards[0].memory.sessions["statistic"][:, SENSITIVE])
