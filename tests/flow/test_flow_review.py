"""Reviews through a live run: each once, also when the stream is read again, and counted."""

import orjson
import pytest

from astray.config import load_config
from astray.flow.live import Live
from astray.store import Store
from running import changing_fleet, flooding_fleet

_SECTIONS = {
    "default_policy": {"alert": {"score": 120.0}, "suspend": {"score": 120.0}},
    "review": {"learn_days": 0.0, "false_per_million": 100.0},
}


@pytest.fixture
def events(tmp_path):
    """Return a file of which one agent does other things from an hour on."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(changing_fleet())
    return path


def run(events, recovery="state", **sections):
    """Run to the end of the file; return the run, and the alerts it has shown."""
    folder, shown = events.parent, []
    store = {"store": {"url": f"sqlite:///{folder}/cases.db"}}
    config = load_config(overrides={**_SECTIONS, **store, **sections})
    live = Live(config, [str(events)], folder / recovery, show=shown.append)
    live.run()
    return live, [orjson.loads(body) for body in shown]


def test_a_review_is_shown_and_counted(events):
    """It is an alert like any other for those who watch."""
    live, shown = run(events)

    assert live.counters.reviews == 1
    assert [finding["finding_info"]["title"] for finding in shown] == ["Review bot-0"]
    assert live.counters.decisions == {}


def test_who_reads_the_stream_again_is_not_asked_again(events):
    """With another recovery directory all comes as before, and the store knows it."""
    run(events)
    live, shown = run(events, "another state")

    with Store.open(f"sqlite:///{events.parent}/cases.db") as store:
        cases = store.cases(10)
    assert (live.counters.reviews, shown) == (0, [])
    assert [(case.agent, case.is_review, case.alerts) for case in cases] == [("bot-0", True, 1)]


def test_a_review_goes_on_over_a_restart(events):
    """What the first half has told is remembered by the second: there is one and the same."""
    whole = events.read_bytes().splitlines(keepends=True)
    half = len(whole) * 57 // 75
    run(events)
    with Store.open(f"sqlite:///{events.parent}/cases.db") as store:
        before = [case.case_id for case in store.cases(10)]
    (events.parent / "cases.db").unlink()
    events.write_bytes(b"".join(whole[:half]))

    first, _ = run(events, "halves")
    events.write_bytes(b"".join(whole))
    second, _ = run(events, "halves")

    with Store.open(f"sqlite:///{events.parent}/cases.db") as store:
        assert [case.case_id for case in store.cases(10)] == before
    assert (first.counters.reviews, second.counters.reviews) == (0, 1)


def test_a_flood_is_shown_and_counted_once(tmp_path):
    """Many agents that do the same at once, through a live run, and after another one."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(flooding_fleet())
    sections = {"flood": {"learn_days": 1.0}, "review": {"false_per_million": 0.0}}

    live, shown = run(path, **sections)
    again, shown_again = run(path, "another state", **sections)

    assert (live.counters.reviews, live.counters.floods) == (0, 1)
    assert (again.counters.floods, shown_again) == (0, [])
    assert [finding["finding_info"]["title"] for finding in shown] == [
        "Review 32 agents that do the same at once: pay on IBAN-1"
    ]
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as store:
        (case,) = store.cases(10)
        file = store.case(case.case_id)
    assert (case.agent, case.is_review) == ("", True)
    assert file is not None
    assert file.review is not None
    assert (file.review.action, file.review.resource) == ("pay", "IBAN-1")
