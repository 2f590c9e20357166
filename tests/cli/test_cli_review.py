"""`astray run` on an agent that changes for good: a review beside the alerts, once."""

import orjson
import pytest

from running import CHANGE_US, alerts, changing_fleet, complaints, invoked, rows


@pytest.fixture
def changed(tmp_path):
    """Return a folder with a fleet of which one agent does other things from an hour on."""
    (tmp_path / "events.jsonl").write_bytes(changing_fleet())
    return tmp_path


def options(folder, false_per_million=100.0):
    """Return the arguments of a run in a folder, in which sessions alert nobody."""
    quiet = "[default_policy]\nalert = { score = 120.0 }\nsuspend = { score = 120.0 }\n"
    review = f"[review]\nlearn_days = 0.0\nfalse_per_million = {false_per_million}\n"
    (folder / "astray.toml").write_text(f"{quiet}{review}")
    return (
        "--source", folder / "events.jsonl", "--config", folder / "astray.toml",
        "--recovery", folder / "state", "--store", f"sqlite:///{folder}/cases.db",
        "--alerts", folder / "alerts.jsonl",
    )  # fmt: skip


def reviews(folder):
    """Return the reviews of the case store."""
    found = rows(folder / "cases.db", "SELECT case_id, body FROM reviews")
    return {case: orjson.loads(body) for case, body in found}


def cases(folder, *words):
    """Run `astray cases` on the store of a folder."""
    return invoked("cases", *words, "--store", f"sqlite:///{folder}/cases.db", cwd=folder)


def test_an_agent_that_changes_has_a_case_that_people_can_read(changed):
    """One alert of its own kind, no decision and no suspension; a second run adds nothing."""
    for _ in range(2):
        done = invoked("run", *options(changed), cwd=changed)
        assert done.returncode == 0, done.stderr

    ((case, review),) = reviews(changed).items()
    (told,) = [orjson.loads(line) for line in (changed / "alerts.jsonl").read_bytes().splitlines()]
    assert [orjson.loads(body) for body in alerts(changed / "cases.db")] == [told]
    assert review["agent"] == "bot-0"
    assert review["since_us"] == CHANGE_US
    assert (told["finding_info"]["uid"], told["finding_info"]["title"]) == (case, "Review bot-0")
    assert rows(changed / "cases.db", "SELECT * FROM decisions") == []

    listed, shown = cases(changed, "list"), cases(changed, "show", case)

    row = " ".join(listed.stdout.decode().splitlines()[1].split())
    assert row.endswith(" review 0.0 - bot-0 -")
    assert told["message"] in shown.stdout.decode()
    assert shown.stdout.decode().startswith(f"{case}: review\n")
    refused = cases(changed, "verdict", case, "true_positive", "--who", "kim")
    assert complaints(refused) == [f"astray: {case}: a case of no session: there is none to judge"]


def test_it_can_be_switched_off(changed):
    """No case at all then."""
    invoked("run", *options(changed, false_per_million=0), cwd=changed)

    assert reviews(changed) == {}


@pytest.mark.parametrize("told", ["-1", "1e9", '"few"'])
def test_a_mistake_in_the_section_is_a_sentence(changed, told):
    """It names file and key, and nothing is started."""
    said = complaints(invoked("run", *options(changed, told), cwd=changed))

    assert len(said) == 1
    assert "astray.toml: review.false_per_million: " in said[0]
    assert not (changed / "cases.db").exists()
