"""`astray replay`: the numbers of a recording, as promised to those who read them by machine."""

import gzip

import orjson
import pytest

from astray.events import Event
from astray.lab.simulate import SimulationOptions, simulate, write
from running import changing_fleet, complaints, flooding_fleet, invoked, lines
from strategies import NOW_US


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Make a small recording with attacks, as events and labels."""
    folder = tmp_path_factory.mktemp("recording")
    options = SimulationOptions(
        agents=12, days=6, seed=4, attacks={"enumeration": 5, "exfiltration": 5}
    )
    write(simulate(options), folder / "events.jsonl.gz", folder / "labels.jsonl.gz")
    return folder


def test_scores_and_numbers_have_exactly_the_promised_fields(recording, tmp_path):
    """One line per session and one object of numbers, with the fields scripts rely on."""
    scores, numbers = tmp_path / "scores.jsonl", tmp_path / "numbers.json"

    result = invoked(
        "replay", recording / "events.jsonl.gz", "--labels", recording / "labels.jsonl.gz",
        "--scores", scores, "--json", numbers,
    )  # fmt: skip

    assert (result.returncode, result.stdout) == (0, b"")
    sessions = list(map(orjson.loads, scores.read_bytes().splitlines()))
    found = orjson.loads(numbers.read_bytes())
    events = gzip.decompress((recording / "events.jsonl.gz").read_bytes()).count(b"\n")
    assert {tuple(one) for one in sessions} == {
        ("session", "agent", "tenant", "score", "n", "certified", "events", "crossed")
    }
    assert {tuple(one["crossed"]) for one in sessions} == {("40", "60", "80")}
    assert sum(one["events"] for one in sessions) == events == found["events"]
    assert list(found) == [
        "events", "rejects", "rejects_by_reason", "seconds", "events_per_second", "sessions",
        "agents", "cases", "suspensions", "silences", "reviews", "floods", "quality", "notices",
    ]  # fmt: skip
    assert (found["rejects"], found["sessions"], found["agents"]) == (0, len(sessions), 12)
    quality = found["quality"]
    assert set(quality) >= {"roc_auc", "pr_auc", "recall_at", "prevented_at", "false_rate"}
    assert list(quality["recall_at"]) == list(quality["prevented_at"]) == ["0.05", "0.01", "0.001"]
    assert all(set(rate) == {"nominal", "realised"} for rate in quality["false_rate"].values())
    assert 0.5 < quality["roc_auc"] <= 1.0
    assert b"quality: roc auc" in result.stderr


def test_each_kind_of_attack_has_its_numbers(recording, tmp_path):
    """How many sessions of each attack there are and what is reached of them, also as a table."""
    numbers = tmp_path / "numbers.json"

    result = invoked(
        "replay", recording / "events.jsonl.gz", "--labels", recording / "labels.jsonl.gz",
        "--json", numbers,
    )  # fmt: skip

    quality = orjson.loads(numbers.read_bytes())["quality"]
    found = quality["by_attack"]
    assert {kind: one["sessions"] for kind, one in found.items()} == {
        "enumeration": 5,
        "exfiltration": 5,
    }
    for rate, recall in quality["recall_at"].items():
        mean = (
            found["enumeration"]["recall_at"][rate] + found["exfiltration"]["recall_at"][rate]
        ) / 2
        assert recall == pytest.approx(mean)
    rows = [line.split()[:2] for line in result.stderr.decode().splitlines()]
    assert ["enumeration", "5"] in rows
    assert ["attack", "sessions"] in rows


def test_several_files_are_one_stream(recording, tmp_path):
    """The halves of a recording, with the halves of its labels, are replayed like the whole."""
    for name in ("events", "labels"):
        data = gzip.decompress((recording / f"{name}.jsonl.gz").read_bytes()).splitlines(True)
        for half in (0, 1):
            (tmp_path / f"{name}{half}.jsonl").write_bytes(b"".join(data[half::2]))

    result = invoked(
        "replay", "events0.jsonl", "events1.jsonl", "--labels", "labels0.jsonl",
        "--labels", "labels1.jsonl", "--json", "both.json", cwd=tmp_path,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr.decode()
    both = orjson.loads((tmp_path / "both.json").read_bytes())
    invoked(
        "replay", recording / "events.jsonl.gz", "--labels", recording / "labels.jsonl.gz",
        "--json", tmp_path / "whole.json",
    )  # fmt: skip
    whole = orjson.loads((tmp_path / "whole.json").read_bytes())
    for name in ("events", "sessions", "agents"):
        assert both[name] == whole[name]
    assert both["quality"]["bad"] == whole["quality"]["bad"] == 10


def test_all_that_cannot_be_replayed_is_named_at_once(tmp_path):
    """A missing recording, bad labels and a bad configuration are one answer."""
    (tmp_path / "bad.toml").write_text("[events]\nshards = 0\n")
    (tmp_path / "bad.jsonl").write_bytes(b"{}\n")

    said = complaints(
        invoked(
            "replay", "missing.jsonl", "--labels", "bad.jsonl", "--labels", "none.jsonl",
            "--config", "bad.toml", cwd=tmp_path,
        )
    )  # fmt: skip

    assert [line.partition(": ")[2].split(":")[0] for line in said] == [
        "bad.toml", "bad.jsonl", "none.jsonl", "missing.jsonl",
    ]  # fmt: skip


def test_replaying_twice_writes_the_same_scores(recording, tmp_path):
    """The file of scores has the same bytes every time; an older one is replaced."""
    scores, written = tmp_path / "scores.jsonl", []
    for _ in range(2):
        assert invoked("replay", recording / "events.jsonl.gz", "--scores", scores).returncode == 0
        written.append(scores.read_bytes())

    assert written[0] == written[1]
    assert written[0]


def test_undefined_numbers_are_null(tmp_path):
    """Where there is nothing bad there is no recall to speak of: null and -, and never NaN."""
    (tmp_path / "events.jsonl").write_bytes(
        lines([Event(ts_us=NOW_US - 10**12, agent="a", action="read", session="s")])
    )
    (tmp_path / "labels.jsonl").write_bytes(b'{"session":"s","agent":"a","label":0}\n')

    result = invoked(
        "replay", "events.jsonl", "--labels", "labels.jsonl", "--json", "out.json", cwd=tmp_path
    )

    assert result.returncode == 0
    data = (tmp_path / "out.json").read_bytes()
    assert b"NaN" not in data
    quality = orjson.loads(data)["quality"]
    assert (quality["roc_auc"], set(quality["recall_at"].values())) == (None, {None})
    told = [line.split() for line in result.stderr.decode().splitlines()]
    assert ["quality:", "recall", "at", "0.05:", "-", "0.01:", "-", "0.001:", "-"] in told


def test_labels_of_another_recording_are_refused(tmp_path):
    """They would say nothing, and look as if they did."""
    (tmp_path / "events.jsonl").write_bytes(
        lines([Event(ts_us=NOW_US - 10**12, agent="a", action="read", session="s")])
    )
    (tmp_path / "labels.jsonl").write_bytes(b'{"session":"other","agent":"a","label":0}\n')

    result = invoked("replay", "events.jsonl", "--labels", "labels.jsonl", cwd=tmp_path)

    said = "astray: none of the 1 labels is of a session in events.jsonl"
    assert complaints(result) == [said]


@pytest.mark.parametrize("option", ["--scores", "--json", "--rejects"])
def test_what_is_read_is_not_written_over(option, tmp_path):
    """A recording stays what it is, by whichever name it is given."""
    data = lines([Event(ts_us=NOW_US - 10**12, agent="a", action="read", session="s")])
    (tmp_path / "events.jsonl").write_bytes(data)
    (tmp_path / "again.jsonl").symlink_to("events.jsonl")

    result = invoked("replay", "events.jsonl", option, "again.jsonl", cwd=tmp_path)

    assert complaints(result) == ["astray: again.jsonl: is what is read; write to another file"]
    assert (tmp_path / "events.jsonl").read_bytes() == data


def test_lines_that_are_no_events_are_counted_and_kept(tmp_path):
    """A recording with bad lines is replayed, and they are where `--rejects` says."""
    good = lines([Event(ts_us=NOW_US - 10**12, agent="a", action="read")])
    (tmp_path / "events.jsonl").write_bytes(good + b"nonsense\n" + good + b"[]\n")

    result = invoked(
        "replay", "events.jsonl", "--json", "out.json", "--rejects", "rejects.jsonl", cwd=tmp_path
    )

    found = orjson.loads((tmp_path / "out.json").read_bytes())
    assert (result.returncode, found["events"], found["rejects"]) == (0, 2, 2)
    assert found["rejects_by_reason"] == {"not_json": 1, "not_object": 1}
    raws = [
        orjson.loads(line)["raw"] for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines()
    ]
    assert raws == ["nonsense", "[]"]


def test_a_directory_is_a_recording(tmp_path):
    """A directory of files is replayed like one file with their lines."""
    events = [
        Event(ts_us=NOW_US - 10**12 + at, agent="a", action="read", session="s") for at in range(4)
    ]
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "1.jsonl").write_bytes(lines(events[:2]))
    (tmp_path / "days" / "2.jsonl.gz").write_bytes(gzip.compress(lines(events[2:])))

    invoked("replay", "days", "--scores", "scores.jsonl", cwd=tmp_path)

    (session,) = map(orjson.loads, (tmp_path / "scores.jsonl").read_bytes().splitlines())
    assert (session["session"], session["events"]) == ("s", 4)


def test_a_policy_with_a_limit_makes_cases(tmp_path):
    """Cases and suspensions are counted as an enforcing run would have made them."""
    (tmp_path / "astray.toml").write_text("[default_policy.limits]\nevents_per_session = 2\n")
    (tmp_path / "events.jsonl").write_bytes(
        lines(
            Event(ts_us=NOW_US - 10**12 + at, agent="a", action="read", session=f"s{at % 3}")
            for at in range(8)
        )
    )

    invoked("replay", "events.jsonl", "--config", "astray.toml", "--json", "out.json", cwd=tmp_path)

    found = orjson.loads((tmp_path / "out.json").read_bytes())
    assert (found["cases"], found["suspensions"], found["sessions"]) == (2, 2, 3)


def test_who_is_to_be_looked_at_is_told(tmp_path):
    """Reviews and silences are counted, and each is told as its alert would tell it."""
    (tmp_path / "astray.toml").write_text("[review]\nlearn_days = 0.0\nfalse_per_million = 100.0\n")
    (tmp_path / "events.jsonl").write_bytes(changing_fleet())

    invoked("replay", "events.jsonl", "--config", "astray.toml", "--json", "out.json", cwd=tmp_path)

    found = orjson.loads((tmp_path / "out.json").read_bytes())
    titles = [finding["finding_info"]["title"] for finding in found["notices"]]
    begun = [title for title in titles if title.endswith("has fallen silent")]
    assert [title for title in titles if title.startswith("Review")] == ["Review bot-0"]
    assert (found["reviews"], found["floods"], found["silences"]) == (1, 0, len(begun))


def test_a_flood_is_told(tmp_path):
    """Many that do the same at once are counted, and told as their alert would tell it."""
    quick = "[flood]\nlearn_days = 1.0\n[review]\nfalse_per_million = 0.0\n"
    (tmp_path / "astray.toml").write_text(quick)
    (tmp_path / "events.jsonl").write_bytes(flooding_fleet())

    invoked("replay", "events.jsonl", "--config", "astray.toml", "--json", "out.json", cwd=tmp_path)

    found = orjson.loads((tmp_path / "out.json").read_bytes())
    assert (found["reviews"], found["floods"]) == (0, 1)
    (flood,) = found["notices"]
    assert (flood["unmapped"]["finding"], flood["unmapped"]["action"]) == ("flood", "pay")


@pytest.mark.parametrize("option", ["--scores", "--json", "--rejects"])
def test_an_output_that_cannot_be_written_is_said_before_the_work(option, tmp_path):
    """Each output is tried before the recording is read, which would fail here."""
    path, damaged = tmp_path / "missing" / "out", tmp_path / "events.jsonl.gz"
    damaged.write_bytes(b"not packed\n")

    said = complaints(invoked("replay", damaged, option, path))

    assert said == [f"astray: {path}: cannot be written: No such file or directory"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(
            ["missing.jsonl"], "missing.jsonl: No such file or directory", id="no recording"
        ),
        pytest.param(["empty.jsonl"], "empty.jsonl: the file is empty", id="empty recording"),
        pytest.param(
            ["table.csv"], "table.csv: events of a CSV file are not read: ", id="another form"
        ),
        pytest.param(
            ["good.jsonl", "--labels", "missing.jsonl"],
            "missing.jsonl: cannot be read: ",
            id="no labels",
        ),
        pytest.param(
            ["good.jsonl", "--labels", "good.jsonl"], "good.jsonl:1: not a label: ", id="bad labels"
        ),
        pytest.param(
            ["good.jsonl", "--config", "good.jsonl"],
            "good.jsonl: not TOML: ",
            id="bad configuration",
        ),
    ],
)
def test_what_cannot_be_replayed_is_named(arguments, sentence, tmp_path):
    """Each input that cannot be used has its sentence."""
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "table.csv").write_bytes(b"ts,agent,action\n")
    (tmp_path / "good.jsonl").write_bytes(lines([Event(ts_us=1, agent="a", action="read")]))

    said = complaints(invoked("replay", *arguments, cwd=tmp_path))

    assert [line.startswith(f"astray: {sentence}") for line in said] == [True]


def test_a_recording_that_breaks_off_is_named(tmp_path):
    """A damaged recording breaks a replay: another exit code than for what is not there."""
    (tmp_path / "packed.jsonl.gz").write_bytes(b"not packed\n")

    (said,) = complaints(invoked("replay", "packed.jsonl.gz", cwd=tmp_path), 1)

    assert said.startswith("astray: packed.jsonl.gz: cannot be read beyond byte 0: ")
