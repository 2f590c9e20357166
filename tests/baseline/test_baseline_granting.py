"""Grants: an action that was never used before counts, and more where no grant lists it."""

import dataclasses
import json

import numpy as np
import pytest

from astray.baseline.granting import (
    ASKED_MAX,
    ASKED_MIN,
    LISTED,
    SAID_NOTHING,
    UNLISTED,
    Grants,
    nothing_asked,
    with_answer,
)
from astray.baseline.layout import PERMISSION
from astray.baseline.rehearsal import FIRST_ROW
from astray.baseline.shard import Shard
from astray.config import load_config
from astray.config_evidence import Grant
from astray.errors import ConfigError
from astray.events import Event
from core import SOURCE, Core, decoded, feed, new_shard, reported, small_config
from made import DAY_US
from weekly import AGENTS, DAYS, START_US, fleet, watched

USUAL = {"agent": "bot-*", "actions": ["read", "write", "try-*", "new-*"]}


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a file of grants, and gives what configures it."""

    def write(*lines, name="grants.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return {"file": str(path)}

    return write


def event(agent="bot-1", action="read", **other):
    """Return an event of an agent."""
    return Event(ts_us=START_US, agent=agent, action=action, **other)


@pytest.mark.parametrize(
    ("lines", "of", "said"),
    [
        ([], event(), SAID_NOTHING),
        ([{"agent": "bot-1", "actions": ["read"]}], event(), LISTED),
        ([{"agent": "bot-1", "actions": ["read"]}], event(action="reads"), UNLISTED),
        ([{"agent": "bot-1", "actions": ["read"]}], event("bot-11"), SAID_NOTHING),
        ([{"agent": "bot-?", "actions": ["iam:*"]}], event(action="iam:PassRole"), LISTED),
        ([{"agent": "bot-?", "actions": ["iam:*"]}], event(action="IAM:x"), UNLISTED),
        ([{"agent": "bot-1", "actions": []}], event(), UNLISTED),
        ([{"agent": "bot-1", "actions": []}, {"agent": "*", "actions": ["read"]}], event(), LISTED),
        ([{"group": "ops", "actions": ["read"]}], event(group="ops"), LISTED),
        ([{"group": "ops", "actions": ["read"]}], event(), SAID_NOTHING),
        ([{"group": "ops", "agent": "x", "actions": ["read"]}], event(group="ops"), SAID_NOTHING),
        ([{"agent": "bot-1", "tenant": "a", "actions": ["read"]}], event(tenant="b"), SAID_NOTHING),
        ([{"agent": "bot-1", "actions": ["read"]}], event(tenant="b"), LISTED),
    ],
)
def test_grants_say_what_their_lines_say(lines, of, said):
    """Lines that match agent, group and tenant count together; globs, and case matters."""
    grants = Grants(Grant.model_validate(line) for line in lines)

    assert [grants.says(of) for _ in range(2)] == [said, said]


def permissions(seen):
    """Return permission and score of each session of the last day, the oddest first."""
    first_us = START_US + (DAYS - 1) * DAY_US
    found = [
        (float(row["statistic"][PERMISSION]), float(score))
        for ranked in seen
        for row, score in zip(ranked.rows, ranked.scores, strict=True)
        if row["row"] == -1 and row["start_us"] >= first_us
    ]
    return sorted(found, reverse=True)


@pytest.mark.parametrize("rehearsals", [0, 2])
def test_who_uses_what_no_grant_lists_stands_out(written, rehearsals):
    """Everybody does something new on a day, and one of them what it has never been granted."""
    last = [(number, (f"new-{number}", "db/a")) for number in range(1, AGENTS)]
    events = fleet(last=[*last, (0, ("iam:PassRole", "db/a"))])
    reference = {"rehearsals": rehearsals}

    granted = small_config(grants=written(USUAL), reference=reference)
    (bits, score), *peers = permissions(watched(granted, events)[1])
    plain = permissions(watched(small_config(reference=reference), events)[1])

    assert bits > max(other for other, _ in peers) + 2.0 > 4.0
    assert score > np.median([other for _, other in peers]) + 6.0
    assert {value for value, _ in plain} == {0.0}


def test_a_fleet_of_which_grants_say_nothing_is_as_it_was(written):
    """Lines about others change no score, and no byte of what is learnt, but for rehearsals."""
    events, reference = fleet(days=20), {"rehearsals": 0}
    config = small_config(grants=written({"agent": "other", "actions": []}), reference=reference)

    granted, seen, _ = watched(config, events)
    plain, seen_plain, _ = watched(small_config(reference=reference), events)

    rows, n = (np.concatenate([getattr(one, name) for one in seen]) for name in ("rows", "n"))
    assert rows.tobytes() == np.concatenate([one.rows for one in seen_plain]).tobytes()
    assert n.tolist() == np.concatenate([one.n for one in seen_plain]).tolist()
    assert granted.shards[0].dump() == plain.shards[0].dump()


@dataclasses.dataclass
class Listening:
    """Grants that remember what they were asked."""

    grants: Grants
    asked: list = dataclasses.field(default_factory=list)

    def says(self, of):
        """Answer as the grants do."""
        self.asked.append((of.agent, of.action))
        return self.grants.says(of)


def test_grants_are_asked_about_what_is_new_only(written):
    """Once for an agent and an action, and never about what the agent is known to do."""
    config = small_config(grants=written(USUAL))
    shard = new_shard(config)
    events = fleet(days=20)
    feed(shard, events[: len(events) // 2])
    listening = Listening(shard.settings.grants)
    state = shard.dump()

    resumed = Shard.load(state, dataclasses.replace(shard.settings, grants=listening), [SOURCE])
    feed(resumed, events[len(events) // 2 :])

    assert len(set(listening.asked)) == len(listening.asked) > 5
    assert {action[:3] for _, action in listening.asked} == {"try"}


@pytest.mark.parametrize("batch", [1, 7])
def test_what_was_asked_may_be_forgotten(written, batch):
    """Batches, a restored state and a memory that is emptied change nothing that is reported."""
    config = small_config(grants=written({"agent": "*", "actions": ["read"]}))
    events = [
        dataclasses.replace(one, session_end=False)
        for one in fleet(days=9, last=[(n, ("secrets.read", "vault")) for n in range(AGENTS)])
    ]
    whole, parts, forgetful = (new_shard(config) for _ in range(3))

    found, in_parts, forgetting = feed(whole, events), feed(parts, events, batch), []
    for first in range(0, len(events), batch):
        forgetful.memory = forgetful.memory._replace(asked=nothing_asked())
        if first == 35:
            forgetful = Shard.load(forgetful.dump(), forgetful.settings, [SOURCE])
        forgetting += feed(forgetful, events[first : first + batch])

    assert reported(found) == reported(in_parts) == reported(forgetting)
    assert whole.dump() == parts.dump() == forgetful.dump()
    assert np.count_nonzero(whole.memory.sessions["statistic"][:, PERMISSION])


def test_what_is_remembered_of_answers_is_bounded():
    """Room doubles while there is little, and then everything is forgotten."""
    grants = Grants([Grant(agent="bot-1", actions=("read",))])
    chunk = decoded([event(), event(action="write")])

    asked = with_answer(nothing_asked(), grants, chunk, 0)
    full = np.zeros(ASKED_MIN, asked.dtype)
    full["key"][: ASKED_MIN // 2] = np.arange(1, ASKED_MIN // 2 + 1)
    grown = with_answer(full, grants, chunk, 1)
    most = np.zeros(ASKED_MAX, asked.dtype)
    most["key"][: ASKED_MAX // 2] = 1 + np.arange(ASKED_MAX // 2)
    emptied = with_answer(most, grants, chunk, 1)

    assert asked["row"][asked["key"] != 0].tolist() == [LISTED]
    assert (len(grown), np.count_nonzero(grown["key"])) == (2 * ASKED_MIN, ASKED_MIN // 2 + 1)
    assert set(grown["key"][grown["key"] != 0].tolist()) > set(range(1, ASKED_MIN // 2 + 1))
    assert (len(emptied), emptied["row"].sum()) == (ASKED_MIN, UNLISTED)


@pytest.mark.parametrize("configured", [True, False])
def test_attacks_are_rehearsed_with_and_without_grants(written, configured):
    """Where there are grants, what is new in an attack is a permission that was never used."""
    sections = {"grants": written(USUAL)} if configured else {}
    shard = new_shard(small_config(reference={"rehearsals": 4}, **sections))

    rows = np.concatenate([some.rows for some in feed(shard, fleet(days=10))])

    attacks = rows["statistic"][rows["row"] <= FIRST_ROW, PERMISSION]
    assert bool((attacks > 0).any()) is configured
    assert 0.0 in attacks


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (["read", "write", "try-*"], "never used before, and no grant lists it"),
        (["read", "write", "try-*", "iam:*"], "never used before, though its grants list it"),
    ],
    ids=["not listed", "listed"],
)
def test_it_is_told_with_its_event_and_in_words(written, actions, words):
    """Which action it was, and what its grants say of it."""
    grants = written({"agent": "bot-*", "actions": actions})
    config = small_config(grants=grants, default_policy={"alert": {"score": 20.0}})

    _, _, decisions = watched(config, fleet(last=[(0, ("iam:PassRole", "db/a"))]))

    (told,) = [
        reason
        for decision in decisions
        if decision.agent == "bot-0" and decision.ts_us >= START_US + (DAYS - 1) * DAY_US
        for reason in decision.evidence
        if reason.channel == "permission"
    ]
    assert told.sentence == f"bot-0 did iam:PassRole, a permission {words}"
    assert (told.item, told.usual) == ("iam:PassRole", words)
    assert told.event_ids[0].startswith("e0-")


def test_all_that_is_wrong_with_a_file_is_told_by_its_lines(tmp_path):
    """Every bad line by its number, beside the other mistakes of a configuration."""
    path = tmp_path / "grants.jsonl"
    path.write_text(
        '{"agent": "a", "actions": ["x"]}\n\n{"agent": "a"}\nnonsense\n{"actions": ["x"]}\n'
        '{"agent": "a", "actions": "x", "since": 3}\n[]\n{"agent": "", "actions": []}\n'
    )

    with pytest.raises(ConfigError) as raised:
        load_config(overrides={"grants": {"file": str(path)}, "store": {"url": "mysql://x"}})

    problems = [problem.removeprefix("configuration: ") for problem in raised.value.problems]
    told = [problem.removeprefix(f"grants: {path}:") for problem in problems]
    assert [problem for problem in problems if problem.startswith("store.url: ")]
    assert [one for one in told if one[0].isdigit()] == [
        "3: actions: is missing",
        "4: not JSON: invalid literal, expected 'null'",
        "5: names neither an agent nor a group",
        "6: actions: should be an array",
        "6: since: there is no such key",
        "7: should be an object",
        "8: agent: string should have at least 1 character",
    ]


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    """It is not there, it is a folder, or it has far too much that is wrong."""
    many = tmp_path / "many.jsonl"
    many.write_text("[]\n" * 1000)

    for path, words in (
        (tmp_path / "none", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        (many, "and 980 more problems"),
    ):
        with pytest.raises(ConfigError, match=f"configuration: grants: {path}: {words}"):
            load_config(overrides={"grants": {"file": str(path)}})


def test_scores_depend_on_what_a_file_says_and_not_on_its_name(written):
    """The hashes of a configuration are those of the grants themselves."""
    one, same = (load_config(overrides={"grants": written(USUAL, name=name)}) for name in "ab")
    other = load_config(overrides={"grants": written({"agent": "x", "actions": []})})

    assert one.model_hash == same.model_hash != other.model_hash != load_config().model_hash
    assert one.config_hash == same.config_hash != other.config_hash
    assert Core(one).shards[0].settings.grants is not None
