"""Past scores derived again are the live ones to the bit also where people gave verdicts."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from astray.alerts.ocsf import finding
from astray.baseline.judgement import Judgement
from astray.baseline.judgement import Said as Effect
from astray.config import load_config
from astray.decide.decision import Decision
from astray.decide.verdict import Said, Scope, Verdict
from astray.events.parse import parse_line
from astray.flow.beginning import Beginning, beginning_of
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.kernels import compile_kernels
from astray.flow.reading import Reading
from astray.flow.recovery import open_recovery
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Sources
from astray.flow.steps import Context
from astray.flow.verdicts import VERDICTS, StoreVerdicts, Told, read_verdicts, stored_verdicts
from astray.lab.explain import Standing, explain
from astray.lab.seeking import Kind, Wanted
from astray.lab.simulate import SimulationOptions, simulate, write
from astray.respond import WebhookOutbox
from astray.store import Outcome, Store
from strategies import NOW_US

PARTS = 4
CONFIG = load_config(
    overrides={
        "default_policy": {"alert": {"score": 10.0}},
        "learning": {"suspicious_bits": 2.0, "quarantine_score": 20.0},
    }
)
OPTIONS = SimulationOptions(
    agents=16, days=2.0, seed=5, attacks={"enumeration": 3, "exfiltration": 3}
)

Scores = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Lived:
    """A recording that was read in parts with verdicts between them.

    `states` are copies of the recovery directory after each part, `scores` what was scored live
    in each part, by event; `untold` is the same without verdicts, and `undone` without undoings.
    """

    path: Path
    store: str
    states: list[Path]
    scores: list[Scores]
    untold: Scores
    undone: Scores

    def told(self, after: int = 0) -> Told:
        """Return the verdicts of the case store, as whoever explains something gets them."""
        with Store.open(self.store, read_only=True) as store:
            return stored_verdicts(store, after)

    def beginning(self, state: int | None = None) -> Beginning:
        """Return the beginning of the recording, or that from a state."""
        recovery = None if state is None else self.states[state]
        return beginning_of([str(self.path)], recovery)


def read(path: Path, recovery: Path, store: Store) -> Collector:
    """Read what is new of a file as a live run does, and record its decisions."""
    collector, reading, names = Collector(), Reading(), [str(path)]
    with open_recovery(recovery, CONFIG) as opened:
        context = Context(CONFIG, names, Counters(), durable=True, placed=store.place_verdict)

        def verdicts(places):
            return StoreVerdicts(store, reading, places, lasts=False)

        source = Sources(names, reading, (), {VERDICTS: verdicts})
        run_flow(build_flow(context, source, Calling(collector), RejectsFile(None)), 3600.0, opened)
    reading.raise_fault()
    store.record(list(collector.decisions.values()), WebhookOutbox([], finding), 0.0)
    return collector


def read_again(path: Path, told: Iterable[Judgement]) -> Scores:
    """Return what is scored where a file is read as a whole, with verdicts."""
    collector, reading, names = Collector(), Reading(), [str(path)]
    context = Context(CONFIG, names, Counters(), judgements=tuple(told))
    flow = build_flow(context, Sources(names, reading), Calling(collector), RejectsFile(None))
    run_flow(flow, 3600.0)
    return scores_of(collector)


def scores_of(collector: Collector) -> Scores:
    """Return what was scored at an event, by its id."""
    scored = zip(
        collector.lines,
        collector.scored["score"].tolist(),
        collector.scored["n"].tolist(),
        strict=True,
    )
    return {parse_line(line, NOW_US).event_id: tuple(found) for line, *found in scored if line}


def say(store: Store, said: Said, case: str, **more) -> Verdict:
    """Give a verdict."""
    given = Verdict(case, said, "kim", NOW_US, **more)
    assert store.judge(given, 0.0) is Outcome.DONE
    return given


def odd_cases(collector: Collector) -> list[str]:
    """Return the cases of a part, the oddest first."""
    found: dict[str, Decision] = {}
    for decision in sorted(collector.decisions.values(), key=lambda one: -one.score):
        found.setdefault(decision.case, decision)
    return list(found)


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> Lived:
    """Return a small recording with attacks that was read in parts, with verdicts between them.

    Some say that an agent or its group may do this, some that it was an attack; and both are
    taken back.
    """
    folder = tmp_path_factory.mktemp("lived")
    path, recovery, url = folder / "events.jsonl", folder / "recovery", f"sqlite:///{folder}/c.db"
    write(simulate(OPTIONS), path, folder / "labels")
    compile_kernels()
    data = path.read_bytes()
    ends = [data.index(b"\n", len(data) * part // PARTS - 2) + 1 for part in range(1, PARTS + 1)]
    states, scores, undoable = [], [], []
    with Store.open(url) as store:
        for part, end in enumerate(ends):
            path.write_bytes(data[: data.index(b"\n", ends[part - 1]) + 1 if part else 0])
            heard = read(path, recovery, store)  # of verdicts, before the rest of the part
            path.write_bytes(data[:end])
            collector = read(path, recovery, store)
            assert not scores_of(heard)
            states.append(shutil.copytree(recovery, folder / f"state-{part}"))
            scores.append(scores_of(collector))
            for given in undoable:
                say(store, Said.UNDO, given.case, undoes=given.id)
            cases = odd_cases(collector)
            undoable = [
                say(store, Said.FALSE_POSITIVE, cases[0], scope=Scope.AGENT),
                say(store, Said.TRUE_POSITIVE, cases[1]),
            ]
            for case in cases[2:5]:
                say(store, Said.FALSE_POSITIVE, case, scope=Scope.GROUP)
            for case in cases[5:7]:
                say(store, Said.TRUE_POSITIVE, case)
        told = stored_verdicts(store).judgements
    untold = read_again(path, ())
    undone = read_again(path, (one for one in told if one.said is not Effect.UNDONE))
    return Lived(path, url, states, scores, untold, undone)


def explained(lived: Lived, beginning: Beginning, event_id: str, told: Told) -> None:
    """Have an event explained, and compare it with what its session had live."""
    found = explain(Wanted(event_id, Kind.EVENT), CONFIG, beginning, told.judgements)
    assert found is not None
    (live,) = (scores[event_id] for scores in lived.scores if event_id in scores)
    assert (found.standing, (found.score, found.n)) == (Standing.OWN, live), event_id


def telling(scores: Scores, others: Scores, count: int) -> list[str]:
    """Return some events that are scored otherwise elsewhere, from the first to the last."""
    differing = [event_id for event_id in scores if others.get(event_id) != scores[event_id]]
    assert len(differing) >= count
    return differing[:: len(differing) // count][:count]


def test_events_before_and_after_verdicts_have_their_live_scores(lived):
    """From the beginning, with the case store's verdicts: before the first one, and after each."""
    told, beginning = lived.told(), lived.beginning()
    assert {one.said for one in told.judgements} == set(Effect)

    for event_id in list(lived.scores[0])[:2]:
        explained(lived, beginning, event_id, told)
    for event_id in telling(lived.scores[2], lived.untold, 2):
        explained(lived, beginning, event_id, told)
    for event_id in telling(lived.scores[3], lived.untold, 2):
        explained(lived, beginning, event_id, told)


def test_what_was_undone_is_undone_in_an_explanation(lived):
    """Scores that an undoing has changed are the live ones."""
    told, beginning = lived.told(), lived.beginning()

    for event_id in telling(lived.scores[3], lived.undone, 1):
        explained(lived, beginning, event_id, told)


@pytest.mark.parametrize("part", range(1, PARTS))
def test_a_state_goes_on_with_the_verdicts_that_it_has_not_heard_of(lived, part):
    """It knows those before it, also that wait or hold; to hear of them again changes nothing."""
    beginning = lived.beginning(part - 1)
    told = lived.told(beginning.verdicts)
    assert (beginning.verdicts > 0) == (part > 1)
    assert beginning.told == ()

    for event_id in list(lived.scores[part])[-2:]:
        explained(lived, beginning, event_id, told)
        explained(lived, beginning, event_id, lived.told())


def test_exported_verdicts_are_as_good_as_the_case_store(lived, tmp_path):
    """A file of them leads to the same scores."""
    exported = tmp_path / "verdicts.jsonl"
    with Store.open(lived.store, read_only=True) as store:
        placed = [body for _, body in store.verdicts_after(0, 1000) if b"takes_effect" in body]
    exported.write_bytes(b"\n".join(placed))

    (event_id,) = telling(lived.scores[3], lived.untold, 1)

    explained(lived, lived.beginning(), event_id, read_verdicts(exported))


def test_all_that_was_scored_live_is_scored_again_with_the_verdicts(lived):
    """Not only where somebody asks: every score of the recording, and no other."""
    live = {name: score for scores in lived.scores for name, score in scores.items()}

    assert read_again(lived.path, lived.told().judgements) == live
