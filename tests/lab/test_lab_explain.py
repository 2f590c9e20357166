"""A past score derived again is the live one to the bit, and comes with all it is made of."""

import gzip
import math
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from astray.config import load_config
from astray.errors import ConfigError, RecoveryError, SourceError
from astray.events import Event
from astray.events.parse import parse_line
from astray.flow.beginning import Beginning, beginning_of
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.kernels import compile_kernels
from astray.flow.recovery import open_recovery
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Reading, Sources
from astray.flow.state import export_state
from astray.flow.steps import Context
from astray.lab.explain import Explanation, Standing, explain
from astray.lab.seeking import Kind, Wanted
from astray.lab.simulate import SimulationOptions, simulate, write
from running import lines
from strategies import NOW_US

MINUTE_US = 60_000_000
START_US = NOW_US - NOW_US % (60 * MINUTE_US) - 600 * 60 * MINUTE_US
CONFIG = load_config(
    overrides={
        "default_policy": {"alert": {"score": 22.0}, "suspend": {"score": 26.0}, "mode": "enforce"}
    }
)
OPTIONS = SimulationOptions(
    agents=16, days=1.5, seed=4, attacks={"enumeration": 3, "exfiltration": 3}
)


def live(path: Path, recovery: Path | None = None) -> Collector:
    """Read a file as a live run does, with its state in a directory; return what came of it."""
    compile_kernels()
    collector, names, reading = Collector(), [str(path)], Reading()
    context = Context(CONFIG, names, Counters(), durable=recovery is not None)
    flow = build_flow(context, Sources(names, reading), Calling(collector), RejectsFile(None))
    if recovery is None:
        run_flow(flow, 3600.0)
    else:
        with open_recovery(recovery, CONFIG) as opened:
            run_flow(flow, 3600.0, opened)
    reading.raise_fault()
    return collector


@dataclass(frozen=True)
class Lived:
    """A recording, the middle of it, and the live score of every event that had one."""

    path: Path
    data: bytes
    middle: int
    events: list[Event]
    scores: dict[str, tuple[float, float]]
    collector: Collector

    def expected(self, event_id: str) -> tuple[float, float] | None:
        """Return the last live score that the session of an event had until then."""
        standing: dict[str, tuple[float, float]] = {}
        for event in self.events:
            if event.event_id in self.scores:
                standing[event.session] = self.scores[event.event_id]
            if event.event_id == event_id:
                return standing.get(event.session)
        raise LookupError(event_id)

    def ids(self, count: int, seed: int) -> list[str]:
        """Return random events of the later half, half of them with a score of their own."""
        generator = random.Random(seed)
        later = [event.event_id for event in self.later]
        scored = [event_id for event_id in later if event_id in self.scores]
        return generator.choices(scored, k=count // 2) + generator.choices(later, k=count // 2)

    @property
    def later(self) -> list[Event]:
        """Return the events after the middle."""
        return self.events[self.data[: self.middle].count(b"\n") :]


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> Lived:
    """Return a small recording with attacks that was read live."""
    path = tmp_path_factory.mktemp("lived") / "events.jsonl"
    write(simulate(OPTIONS), path, path.with_name("labels"))
    data = path.read_bytes()
    events = [parse_line(line, NOW_US) for line in data.splitlines()]
    collector = live(path)
    scores = {
        parse_line(line, NOW_US).event_id: (score, n)
        for line, score, n in zip(
            collector.lines,
            collector.scored["score"].tolist(),
            collector.scored["n"].tolist(),
            strict=True,
        )
        if line
    }
    middle = data.index(b"\n", len(data) // 2) + 1
    return Lived(path, data, middle, events, scores, collector)


@pytest.fixture(scope="module")
def kept(lived, tmp_path_factory) -> tuple[Path, Path]:
    """Return the file after half of it was read, and the state that was kept then."""
    folder = tmp_path_factory.mktemp("kept")
    path, recovery = folder / "events.jsonl", folder / "recovery"
    path.write_bytes(lived.data[: lived.middle])
    live(path, recovery)
    path.write_bytes(lived.data)
    return path, recovery


def of(beginning: Beginning, wanted: str, kind: Kind | None = None, **owner: str) -> Explanation:
    """Return the explanation of something that has one."""
    found = explain(Wanted(wanted, kind, **owner), CONFIG, beginning)
    assert found is not None
    return found


def check(lived: Lived, beginning: Beginning, event_id: str) -> None:
    """Have an event explained, and compare it with what its session had live."""
    found = of(beginning, event_id, Kind.EVENT)
    expected = lived.expected(event_id)
    if event_id in lived.scores:
        assert found.standing is Standing.OWN
        assert (found.score, found.n) == lived.scores[event_id]
        assert found.event.event_id == event_id
    elif expected is not None:
        assert found.standing is Standing.EARLIER
        assert (found.score, found.n) == expected
    else:
        assert found.standing is Standing.END
    if found.evidence:
        assert math.isclose(math.fsum(found.points()), found.score, rel_tol=1e-12)
    if found.score == 0.0:
        assert all(bits == 0.0 for bits in found.bits.values()) or found.n == 1.0


def test_random_events_are_explained_with_their_live_scores(lived):
    """From the beginning: the score and n of a session at an event are the live ones, all bits."""
    assert len(lived.scores) > 100
    beginning = beginning_of([str(lived.path)])

    for event_id in lived.ids(6, 1):
        check(lived, beginning, event_id)


def test_an_event_that_raised_nothing_has_the_score_of_the_last_one_that_did(lived):
    """Of the scores that its session had before and after, none else is told."""
    had: dict[str, list[tuple[float, float]]] = {}
    quiet = []
    for one in lived.events:
        if one.event_id in lived.scores:
            had.setdefault(one.session, []).append(lived.scores[one.event_id])
        elif len(set(had.get(one.session, []))) > 1:
            quiet.append((one.event_id, had[one.session][-1], had[one.session][0]))
    beginning = beginning_of([str(lived.path)])
    telling = [each for each in quiet if each[1] != each[2]]

    assert len(telling) > 3
    for event_id, last, _ in random.Random(5).sample(telling, 3):
        found = of(beginning, event_id, Kind.EVENT)
        assert (found.standing, (found.score, found.n)) == (Standing.EARLIER, last)


@pytest.mark.slow
def test_a_state_gives_the_same_as_the_beginning(lived, kept):
    """Going on from what was kept in the middle, the live scores are the same, and so is why."""
    path, recovery = kept
    going_on, anew = beginning_of([str(path)], recovery), beginning_of([str(lived.path)])

    for event_id in lived.ids(26, 2):
        event = next(event for event in lived.events if event.event_id == event_id)
        if event.session in {one.session for one in lived.events[: -len(lived.later)]}:
            continue
        check(lived, going_on, event_id)
    for event_id in lived.ids(6, 3):
        found = explain(Wanted(event_id, Kind.EVENT), CONFIG, going_on)
        if found is not None and found.standing is Standing.OWN:
            assert found.as_dict() == of(anew, event_id, Kind.EVENT).as_dict()


@pytest.mark.slow
def test_a_thousand_random_events_are_explained_with_their_live_scores(lived, kept):
    """Half of them from the beginning, and those with a score of their own from a state too."""
    path, recovery = kept
    going_on, anew = beginning_of([str(path)], recovery), beginning_of([str(lived.path)])

    for event_id in lived.ids(800, 4):
        check(lived, anew, event_id)
    for event_id in lived.ids(400, 5)[:200]:
        check(lived, going_on, event_id)


def whole(directory):
    """Return what is in a directory; what SQLite's readers share with each other is not."""
    kept = (part for part in directory.iterdir() if not part.name.endswith("-shm"))
    return {part: data for part in kept if (data := part.read_bytes())}


def test_what_is_explained_twice_is_the_same_bytes(lived, kept):
    """Whether from the beginning or from a state: no byte of the JSON differs."""
    path, recovery = kept
    before = whole(recovery)
    for beginning in (beginning_of([str(lived.path)]), beginning_of([str(path)], recovery)):
        first, second = (
            orjson.dumps(of(beginning, lived.ids(2, 6)[0]).as_dict()) for _ in range(2)
        )

        assert first == second
    assert whole(recovery) == before


def test_a_decision_is_among_what_is_told_of_its_event(lived):
    """It is the live decision, and its evidence is that of the explanation."""
    decisions = list(lived.collector.decisions.values())
    assert {decision.level for decision in decisions} >= {"alert"}

    for decision in decisions[:6]:
        found = of(beginning_of([str(lived.path)]), decision.event_id, Kind.EVENT)

        assert decision in found.decisions
        assert (found.score, found.n, found.evidence) == (
            decision.score, decision.n, decision.evidence,
        )  # fmt: skip
        assert found.sentence == decision.sentence


def test_a_session_is_explained_at_its_highest(lived):
    """It has the highest live score of its events, the first event with it, and all decisions."""
    decision = max(lived.collector.decisions.values(), key=lambda one: one.score)
    own = {
        event.event_id: lived.scores[event.event_id]
        for event in lived.events
        if event.session == decision.session and event.event_id in lived.scores
    }

    found = of(beginning_of([str(lived.path)]), decision.session, Kind.SESSION)

    highest = max(own.values())
    assert (found.standing, (found.score, found.n)) == (Standing.HIGHEST, highest)
    assert found.event.event_id == next(name for name, score in own.items() if score == highest)
    told = {one.id for one in lived.collector.decisions.values() if one.case == decision.case}
    assert {one.id for one in found.decisions} == told


def test_an_exported_state_is_as_good_as_a_directory(lived, kept, tmp_path):
    """The file that `astray state export` writes leads to the same explanation."""
    path, recovery = kept
    export_state(recovery, tmp_path / "exported")
    event_id = next(name for name in lived.ids(2, 8) if name in lived.scores)

    found = of(beginning_of([str(path)], None, tmp_path / "exported"), event_id)

    assert found.as_dict() == of(beginning_of([str(path)], recovery), event_id).as_dict()


def test_events_that_have_been_moved_are_known_by_their_file_name(lived, kept, tmp_path):
    """A copy elsewhere is read on from where the state has left the original, and this is said."""
    path, recovery = kept
    copy = tmp_path / path.name
    last = replace(lived.events[-1], event_id="only-here")
    copy.write_bytes(path.read_bytes() + lines([last]))
    event_id = lived.ids(2, 9)[0]

    beginning = beginning_of([str(copy)], recovery)

    found = of(beginning, "only-here")
    assert (found.id, found.session) == ("only-here", last.session)
    assert beginning.told == (f"{copy}: taken for {path}, which {recovery} has read",)
    here = beginning_of([str(path)], recovery)
    assert of(beginning, event_id).as_dict() == of(here, event_id).as_dict()


def test_another_file_under_the_name_of_one_that_was_read_is_refused(lived, kept, tmp_path):
    """What lies before the place must be what was read."""
    _, recovery = kept
    other = tmp_path / "events.jsonl"
    other.write_bytes(lived.data.replace(b"}\n", b" }\n"))
    event_id = lived.ids(2, 9)[0]

    with pytest.raises(SourceError, match="not the file that was read under this name before"):
        explain(Wanted(event_id), CONFIG, beginning_of([str(other)], recovery))


def test_events_that_a_state_has_not_read_are_read_from_their_beginning(lived, kept, tmp_path):
    """A run over another file goes on from the state, and so does an explanation; it is said."""
    path, recovery = kept
    today, directory = tmp_path / "today.jsonl", tmp_path / "recovery"
    today.write_bytes(lived.data[lived.middle :])
    shutil.copytree(recovery, directory)
    collector = live(today, directory)
    (event_id, score), *_ = (
        (parse_line(line, NOW_US).event_id, score)
        for line, score in zip(collector.lines, collector.scored["score"].tolist(), strict=True)
        if line
    )

    beginning = beginning_of([str(today)], recovery)

    said = f"{today}: read from its beginning, as {recovery} has not read it, but {path}"
    assert beginning.told == (said,)
    assert of(beginning, event_id).score == score


def refusal(wanted: Wanted, beginning: Beginning) -> str:
    """Return the sentence with which an id is refused."""
    with pytest.raises(ConfigError) as caught:
        explain(wanted, CONFIG, beginning)
    (problem,) = caught.value.problems
    return problem


def test_what_was_before_the_state_is_refused(lived, kept):
    """An event that the state has behind it cannot be derived from it, nor a session that ended."""
    path, recovery = kept
    beginning = beginning_of([str(path)], recovery)
    first = lived.events[0]
    place = f"lies before {recovery} was kept, with {path} read up to byte {lived.middle:,}"

    for known in (first.event_id, first.session):
        assert refusal(Wanted(known), beginning) == f"{known}: {place}; take an earlier state"


def test_a_session_that_began_before_the_state_says_that_it_is_not_whole(lived, kept):
    """What it scored until then is not there, and this is told; of any other all is there."""
    path, recovery = kept
    earlier = {event.session for event in lived.events[: -len(lived.later)]}
    both = next(event.session for event in lived.later if event.session in earlier)
    only = next(event.session for event in lived.later if event.session not in earlier)
    beginning = beginning_of([str(path)], recovery)

    assert not of(beginning, both).whole
    assert of(beginning, only).whole
    assert of(beginning_of([str(path)]), both).whole


def recorded(path: Path, events: list[Event]) -> Beginning:
    """Return the beginning of a few events."""
    path.write_bytes(lines(events))
    return beginning_of([str(path)])


def event(at: int, agent: str = "a", **values) -> Event:
    """Return an event some minutes after the start."""
    return Event(ts_us=START_US + at * MINUTE_US, agent=agent, action="read", **values)


def test_ids_that_are_nowhere_are_refused(tmp_path):
    """The sentence names the id, how it was narrowed, and where it was looked for."""
    path = tmp_path / "events.jsonl"
    beginning = recorded(path, [event(0, session="s", event_id="e")])

    nothing = f"no event and no session has this id in {path}"
    assert refusal(Wanted("x"), beginning) == f"x: {nothing}"
    assert refusal(Wanted("e", Kind.SESSION), beginning) == f"e, kind session: {nothing}"
    assert refusal(Wanted("s", None, "b", "t"), beginning) == f"s, agent b, tenant t: {nothing}"


def test_ids_of_several_things_are_refused_until_they_are_narrowed(tmp_path):
    """Two agents, two tenants, an event and a session: each has its option."""
    beginning = recorded(
        tmp_path / "events.jsonl",
        [
            event(0, "a", session="x", event_id="1"),
            event(1, "a", session="s", event_id="x"),
            event(2, "b", session="t", event_id="x"),
            event(3, "b", session="t", event_id="x", tenant="north"),
        ],
    )

    said = refusal(Wanted("x"), beginning)

    assert said == (
        "x: means more than one thing: event of a; event of b; event of b of tenant north; "
        "session of a; say which with --kind, --agent or --tenant"
    )
    assert of(beginning, "x", Kind.SESSION).session == "x"
    assert of(beginning, "x", Kind.EVENT, agent="a").session == "s"
    assert of(beginning, "x", agent="b", tenant="north").event.tenant == "north"


def test_many_owners_of_an_id_are_counted(tmp_path):
    """The sentence does not grow with the fleet."""
    events = [event(at, f"agent-{at:02d}", event_id="same") for at in range(40)]

    said = refusal(Wanted("same"), recorded(tmp_path / "events.jsonl", events))

    assert "event of agent-04; and 35 more;" in said


def test_an_event_that_came_twice_is_explained_as_it_came_first(tmp_path):
    """What is delivered again counts once, and is not ambiguous."""
    once = event(5, session="s", event_id="e")
    beginning = recorded(tmp_path / "events.jsonl", [event(0, session="s"), once, once])

    assert of(beginning, "e").events == 2


def test_a_session_without_a_name_is_called_by_agent_and_start(tmp_path):
    """Each of an agent's unnamed sessions has its own explanation, and named ones have theirs."""
    events = [event(at, event_id=f"e{at}") for at in (0, 1, 2, 40, 41)]
    events += [event(60, session="s", event_id="named"), event(61, "b", event_id="other")]
    beginning = recorded(tmp_path / "events.jsonl", events)

    first = of(beginning, "a@2026-10-28T02:00:00.000Z")
    second = of(beginning, "a@2026-10-28T02:40:00.000Z")

    assert (first.session, first.events) == ("a@2026-10-28T02:00:00.000Z", 3)
    assert (second.session, second.events) == ("a@2026-10-28T02:40:00.000Z", 2)
    assert of(beginning, "e41").session == second.session
    assert of(beginning, "e1").session == first.session
    assert of(beginning, "named").session == "s"


def test_a_session_that_fell_asleep_is_explained_as_a_whole(tmp_path):
    """Its name is one, however often it ended; an event is explained in its own part."""
    events = [event(at, session="s", event_id=f"e{at}") for at in (0, 1, 50, 51, 52)]
    beginning = recorded(tmp_path / "events.jsonl", events)

    assert of(beginning, "e1").events == 2
    assert of(beginning, "e50").events == 3
    assert of(beginning, "s").start_us == events[2].ts_us


def test_the_score_of_a_part_is_not_that_of_the_next(lived, tmp_path):
    """A session that had a score, fell asleep and woke up under its name begins without one."""
    scored = next(event for event in reversed(lived.events) if event.event_id in lived.scores)
    woken = replace(scored, ts_us=lived.events[-1].ts_us + 120 * MINUTE_US, event_id="woken")
    path = tmp_path / "events.jsonl"
    path.write_bytes(lived.data + lines([woken]))

    found = of(beginning_of([str(path)]), "woken")

    assert (found.standing, found.start_us, found.events) == (Standing.END, woken.ts_us, 1)


def test_compressed_files_and_directories_are_read(lived, tmp_path):
    """The events may lie in several files, packed or not."""
    folder = tmp_path / "days"
    folder.mkdir()
    (folder / "1.jsonl.gz").write_bytes(gzip.compress(lived.data[: lived.middle]))
    (folder / "2.jsonl").write_bytes(lived.data[lived.middle :])
    event_id = next(name for name in lived.ids(2, 8) if name in lived.scores)

    found = of(beginning_of([str(folder)]), event_id)

    assert (found.score, found.n) == lived.scores[event_id]


def test_what_cannot_be_read_again_is_named_at_once(tmp_path):
    """Standing input, a missing file, two states: all of it is said together."""
    with pytest.raises(ConfigError) as caught:
        beginning_of(["-", "missing.jsonl"], tmp_path, tmp_path)

    assert caught.value.problems == (
        "-: standard input cannot be read again",
        "--recovery and --state: one or the other",
        "missing.jsonl: No such file or directory",
    )


def test_the_state_of_another_configuration_is_refused_by_its_own_name(lived, kept):
    """It is the given state that does not fit, and no copy of it."""
    path, recovery = kept
    other = load_config(overrides={"events": {"shards": 8}})

    with pytest.raises(RecoveryError) as caught:
        explain(Wanted(lived.ids(2, 9)[0]), other, beginning_of([str(path)], recovery))

    assert str(caught.value).startswith(f"{recovery}: holds the state of another configuration")
