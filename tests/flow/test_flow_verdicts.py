"""Verdicts through the real dataflow: heard once, placed once, and the same in a replay."""

import dataclasses

import orjson
import pytest

from astray.alerts.ocsf import finding
from astray.baseline.judgement import Said as Effect
from astray.config import load_config
from astray.decide.decision import case_id
from astray.decide.effect import judgement_of
from astray.decide.verdict import Said, Scope, Verdict
from astray.errors import ConfigError
from astray.events import Chunk, Event, clock
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.reading import Reading
from astray.flow.recovery import open_recovery
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Sources
from astray.flow.steps import Context
from astray.flow.verdicts import (
    VERDICTS,
    VERDICTS_MAX,
    StoreVerdicts,
    Told,
    decode_verdicts,
    read_verdicts,
    stored_verdicts,
    verdict_lines,
)
from astray.lab.about import sessions_of
from astray.lab.replay import replay
from astray.respond import WebhookOutbox
from astray.store import Outcome, Store
from astray.testing import make_decision
from running import lines
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_START_US = NOW_US - 100 * _DAY_US - NOW_US % _HOUR_US
_DAYS = 40
_CONFIG = load_config(
    overrides={
        "events": {"shards": 2},
        "learning": {"suspicious_bits": 2.0, "quarantine_score": 20.0},
    }
)


def _session(day, agent="bot", session="", **odd):
    event = Event(
        ts_us=_START_US + day * _DAY_US, agent=agent, action="read", group="peers",
        session=session or f"{agent}-{day}", resources=("ledger",), session_end=True,
    )  # fmt: skip
    return dataclasses.replace(event, **odd)


def _odd(day, session):
    odd = _session(day, session=session, action="export", resources=("payroll",))
    return dataclasses.replace(odd, ts_us=odd.ts_us + 60_000_000)


PAST = [*(_session(day, a) for day in range(_DAYS) for a in ("bot", "peer")), _odd(_DAYS, "odd")]
LATER = [_session(_DAYS + 1, "peer"), _session(_DAYS + 2, "peer"), _odd(_DAYS + 3, "again")]
LATER += [_session(_DAYS + 4, "peer")]


def _case(session="odd"):
    return case_id("", "bot", session)


def _decision(session="odd"):
    ts_us = _odd(_DAYS, session).ts_us
    return make_decision(
        case=_case(session), agent="bot", session=session, group="peers", ts_us=ts_us
    )


def _excused(case=None, **more):
    told = {"case": case or _case(), "said": Said.FALSE_POSITIVE, "scope": Scope.AGENT, **more}
    return Verdict(**{"who": "kim", "ts_us": NOW_US, **told})


@pytest.fixture
def store(tmp_path):
    """Return a case store with the case of the odd session."""
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as store:
        store.record([_decision()], WebhookOutbox([], finding), 0.0)
        yield store


def _run(tmp_path, file, store, told=()):
    """Run the dataflow on a file, from the state of the run before; return what was ranked."""
    recovery, collector, reading, counters = tmp_path / "state", Collector(), Reading(), Counters()
    with open_recovery(recovery, _CONFIG) as kept:
        context = Context(
            _CONFIG, [str(file)], counters, durable=True, judgements=told,
            placed=store.place_verdict,
        )  # fmt: skip

        def verdicts(places):
            return StoreVerdicts(store, reading, places, lasts=False)

        source = Sources([str(file)], reading, (), {VERDICTS: verdicts})
        flow = build_flow(context, source, Calling(collector), RejectsFile(None))
        run_flow(flow, 0.0, kept)
    reading.raise_fault()
    return _scores(collector.scored), counters


def _scores(scored):
    ended = scored[~scored["live"]]
    return {(int(row["session"]), int(row["ts_us"])): float(row["n"]) for row in ended}


def _written(tmp_path, name, events):
    file = tmp_path / name
    file.write_bytes(lines(events))
    return file


@pytest.mark.parametrize("said", [Said.FALSE_POSITIVE, Said.BENIGN_CHANGE])
def test_a_run_hears_of_verdicts_and_a_replay_repeats_them(tmp_path, store, said):
    """What is excused is calm when it comes again; a replay with the verdicts says the same."""
    _run(tmp_path, _written(tmp_path, "1.jsonl", PAST), store)
    assert store.judge(_excused(said=said), 0.0) is Outcome.DONE

    first, counters = _run(tmp_path, _written(tmp_path, "2.jsonl", LATER[:1]), store)
    scores, _ = _run(tmp_path, _written(tmp_path, "3.jsonl", LATER[1:]), store)

    ((_, body),) = store.verdicts_after(0, 10)
    exported = _exported(tmp_path, body)
    whole = _written(tmp_path, "all.jsonl", [*PAST, *LATER])
    told = replay(whole, _CONFIG, verdicts=read_verdicts(exported).judgements)
    untold = replay(whole, _CONFIG)
    last = max(_odd_scores(told)), max(_odd_scores(untold))
    assert counters.verdicts == 1
    assert clock.iso_us(orjson.loads(body)["takes_effect"]) <= LATER[1].ts_us
    assert sorted([*first.values(), *scores.values()]) == sorted(_after_the_verdict(told))
    assert last[0] < last[1]


def test_a_replay_tells_what_became_of_verdicts(tmp_path):
    """Of each once, however many shards have heard of it: one has the agent, if any."""
    changes = [
        {"takes_effect": clock.iso_exact(LATER[0].ts_us)},
        {"session": "never"},
        {"agent": "nobody"},
        {"takes_effect": clock.iso_exact(LATER[-1].ts_us + _DAY_US)},
    ]
    early = {"takes_effect": clock.iso_exact(_START_US)}
    lines_ = [_line(**{**early, "comment": f"{at}", **one}) for at, one in enumerate(changes)]
    told = read_verdicts(_exported(tmp_path, *lines_, lines_[0]))
    whole = _written(tmp_path, "all.jsonl", [*PAST, *LATER])

    summary = replay(whole, _CONFIG, verdicts=told.judgements).summary()

    assert summary["verdicts"] == {"took_effect": 1, "found_nothing": 2, "beyond_the_end": 1}
    assert "verdicts" not in replay(whole, _CONFIG).summary()


def _as_in_a_topic(line):
    record = orjson.loads(line)
    return orjson.dumps({k: v for k, v in record.items() if k not in ("agent", "session")})


def test_a_replay_finds_whose_sessions_cases_are_about(tmp_path):
    """A verdict that names its case only says the same as one that names the session."""
    whole = _written(tmp_path, "all.jsonl", [*PAST, *LATER])
    told = _line(ts=clock.iso_exact(LATER[0].ts_us))
    alone = [_as_in_a_topic(told), _as_in_a_topic(_line(alert_id=_case("never")))]
    alone.append(_as_in_a_topic(_line(ts=clock.iso_exact(_START_US), alert_id=_case("never"))))
    full, bare = (
        read_verdicts(_exported(tmp_path, told)),
        verdict_lines(_exported(tmp_path, *alone)),
    )

    sessions = sessions_of(bare.cases_alone, [str(whole)])
    found = bare.told(sessions)

    assert sessions == {_case(): {"tenant": "", "agent": "bot", "session": "odd"}}
    assert (found.judgements[:1], found.problems) == (full.judgements, ())
    summary = replay(whole, _CONFIG, verdicts=found.judgements).summary()
    assert summary["verdicts"] == {"took_effect": 1, "found_nothing": 1, "beyond_the_end": 1}


@pytest.mark.parametrize(
    ("tenant", "session", "name"),
    [("", "s1", "s1"), ("acme", "s1", "s1"), ("acme", "", f"bot@{clock.iso(_START_US)}")],
    ids=["named", "of a tenant", "without a name"],
)
def test_the_session_of_a_case_is_found_in_a_recording(tmp_path, tenant, session, name):
    """As its decision names it: by its events, or by when it began."""
    events = [
        Event(_START_US + minute * 60_000_000, "bot", "read", session=session, tenant=tenant)
        for minute in range(3)
    ]
    file = _written(tmp_path, "events.jsonl", events)

    found = sessions_of({case_id(tenant, "bot", name), _case("never")}, [str(file)])

    whose = {"tenant": tenant, "agent": "bot", "session": name}
    assert found == {case_id(tenant, "bot", name): whose}


def _exported(tmp_path, *bodies):
    file = tmp_path / "verdicts.jsonl"
    file.write_bytes(b"".join(body + b"\n" for body in bodies))
    return file


def _after_the_verdict(result):
    later = {event.session for event in LATER}
    return [session.n for session in result.sessions if session.session in later]


def _odd_scores(result):
    return [session.n for session in result.sessions if session.session == "again"]


def test_a_verdict_is_heard_once_and_keeps_its_place(tmp_path, store):
    """A run that goes on does not hear of it again; one that begins anew gives it its old place."""
    past = _written(tmp_path, "1.jsonl", PAST)
    _run(tmp_path, past, store)
    store.judge(_excused(), 0.0)
    later = _written(tmp_path, "2.jsonl", LATER)

    heard = [_run(tmp_path, later, store)[1].verdicts for _ in range(2)]
    places = [store.place_verdict(_excused().id, at_us) for at_us in (5, 2**50)]

    assert heard == [1, 0]
    assert places[0] == places[1] > PAST[-1].ts_us


def test_only_verdicts_that_a_run_has_heard_of_have_taken_effect(store):
    """Each at the place that was written down, and those after a number; the others wait."""
    store.record([_decision("more")], WebhookOutbox([], finding), 0.0)
    store.judge(_excused(), 0.0)
    store.judge(_excused(_case("more")), 0.0)

    before = stored_verdicts(store)
    store.place_verdict(_excused().id, 7)
    after = stored_verdicts(store)
    (first, _), _ = store.verdicts_after(0, 10)

    assert before == Told()
    assert [one.at_us for one in after.judgements] == [7]
    assert stored_verdicts(store, first) == Told()


def test_the_case_stores_verdicts_end_with_the_files(store):
    """They keep no run alive whose sources have all ended."""
    reading = Reading()
    reading.unfinished.add("file")
    source = StoreVerdicts(store, reading, {}, lasts=False)

    given = [source.next_chunks(), source.next_chunks()]
    going_on = source.ended
    reading.unfinished.clear()
    source.next_chunks()

    assert given == [[], []]
    assert not going_on
    assert source.ended
    assert StoreVerdicts(store, reading, {VERDICTS: ("", 7, 0)}, lasts=True).place().offset == 7


def test_a_line_that_is_no_verdict_is_a_reject_with_a_reason(store):
    """The others in its chunk are heard."""
    store.judge(_excused(), 0.0)
    ((_, body),) = store.verdicts_after(0, 10)
    chunk = Chunk(VERDICTS, 3, b"[]\n" + body + b"\n", silent=True)

    found = decode_verdicts(chunk, 8, lambda _, at_us: at_us)

    assert [(r.reason, r.key, r.raw) for r in found.rejects] == [
        ("not_a_verdict", "not an object", b"[]")
    ]
    assert [one.at_us for one in found.judgements] == [8]


def _line(**changes):
    record = _excused().as_dict({"agent": "bot", "session": "odd", "tenant": "", "group": ""})
    return orjson.dumps({**record, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent": None}, "agent is not a text: it does not say whose session it is about"),
        ({"session": ""}, "session is not a text: it does not say whose session it is about"),
        ({"tenant": 7}, "tenant is neither a text nor null"),
        ({"first_event": "soon"}, "first_event is not a time"),
        ({"takes_effect": 8}, "takes_effect is not a time"),
        ({"verdict_id": 99, "scope": None, "undoes": "it"}, "undoes is not the id of a verdict"),
    ],
)
def test_what_keeps_a_verdict_from_being_understood_is_said(changes, said):
    """It must name the session, and times must be times."""
    assert judgement_of(_line(**changes)) == said


def test_a_verdict_without_a_place_holds_from_when_it_was_given():
    """Where nobody has written down when a run was told of it."""
    found = judgement_of(_line(ttl="P2D"))

    assert found.at_us == NOW_US
    assert found.until_us == NOW_US + 2 * _DAY_US
    assert judgement_of(_line(takes_effect=clock.iso_exact(5))).at_us == 5


def test_verdicts_keep_their_scope_and_what_they_undo():
    """A group's, a true positive, an undoing."""
    group = judgement_of(_line(scope="group"))
    confirmed = judgement_of(_line(verdict_id=2, scope=None))
    undone = judgement_of(_line(verdict_id=99, scope=None, undoes=f"ver_{group.id:016x}"))

    assert [group.said, confirmed.said, undone.said] == [
        Effect.PEERS_EXCUSED, Effect.CONFIRMED, Effect.UNDONE,
    ]  # fmt: skip
    assert undone.undoes == group.id


def test_a_session_without_a_name_is_told_by_its_beginning():
    """Its case is called after its agent and when it began."""
    unnamed = judgement_of(_line(session=f"bot@{clock.iso(NOW_US)}"))

    assert unnamed.start_ms == NOW_US // 1000
    assert judgement_of(_line(session="bot@home")).start_ms == -1


def _undoing(verdict):
    return _line(verdict_id=99, scope=None, undoes=verdict)


def test_an_undoing_of_no_verdict_is_told(tmp_path):
    """Also where a line claims the id: ids follow from what verdicts say, so it was changed."""
    file, claimed, nobody = tmp_path / "told.jsonl", "ver_00000000000000aa", "ver_00000000000000bb"
    changed = _line(id=claimed, comment="changed")
    own = f"ver_{judgement_of(changed).id:016x}"
    later = "nothing is taken back, unless a case store or a state has it"
    file.write_bytes(b"\n".join([_undoing(claimed), changed, _undoing(nobody), _undoing(own)]))

    told = read_verdicts(file)

    assert len(told.judgements) == 4
    claims = f"which line 2 claims to be, but what it says makes it {own}"
    assert told.in_vain == (
        f"{file}:1: undoes {claimed}, {claims}: {later}",
        f"{file}:3: undoes {nobody}, which no line is: {later}",
    )


def test_what_the_case_store_has_is_taken_back_by_a_file(tmp_path, store):
    """A verdict that is known from elsewhere is no less a verdict."""
    file = tmp_path / "told.jsonl"
    file.write_bytes(_undoing(_excused().id))
    store.judge(_excused(), 0.0)
    store.place_verdict(_excused().id, 7)

    alone = read_verdicts(file)

    assert len(alone.in_vain) == 1
    assert (alone + stored_verdicts(store)).in_vain == ()


def test_bad_lines_of_a_file_are_named(tmp_path):
    """With the file, the line, and what is wrong; a file that is not there is an error."""
    file = tmp_path / "told.jsonl"
    file.write_bytes(b"\n" + _line() + b"\nnonsense\n")

    found = read_verdicts(file)

    assert len(found.judgements) == 1
    assert found.problems == (f"{file}:3: not a verdict: not JSON",)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_verdicts(tmp_path / "nothing")


def test_verdicts_of_a_file_are_bounded(tmp_path):
    """As many as a shard lets wait; empty lines are none."""
    file = tmp_path / "told.jsonl"

    file.write_bytes(b"x\n\n" * VERDICTS_MAX)
    assert len(read_verdicts(file).problems) == VERDICTS_MAX
    file.write_bytes(b"x\n\n" * (VERDICTS_MAX + 1))
    with pytest.raises(ConfigError, match="has more than 65,536 lines, a verdict in each"):
        read_verdicts(file)
