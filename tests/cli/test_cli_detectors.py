"""Detectors from the command line: problems before anything starts, and a replay with them."""

import orjson
import pytest

from offered import offering
from running import attacked_fleet, complaints, invoked

BAD = """[[detector]]
name = "a"
model = "river.anomaly.HalfSpaceTree"

[[detector]]
name = "b"
model = "nobodys"
features = ["byte"]
"""

GOOD = """[default_policy]
alert = { score = 20.0 }

[[detector]]
name = "unheard"
model = "unheard"
warmup = 20

[[detector]]
name = "hst"
model = "river.anomaly.HalfSpaceTrees"
options = { n_trees = 3, height = 3, window_size = 30 }
per = "group"
warmup = 20
"""


@pytest.mark.parametrize(
    "command",
    [
        ["config", "check", "{config}"],
        ["run", "--config", "{config}", "--source", "{events}"],
        ["replay", "--config", "{config}", "{events}"],
        ["explain", "--config", "{config}", "--events", "{events}", "e1"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_wrong_with_detectors_is_told_before_anything_starts(tmp_path, command):
    """All of it, with the names of detectors and keys, and nothing is left behind."""
    config, events = tmp_path / "astray.toml", tmp_path / "events.jsonl"
    config.write_text(BAD)
    events.write_text('{"ts": 1795312800, "agent": "a", "action": "b", "event_id": "e1"}\n')

    words = [word.format(config=config, events=events) for word in command]
    said = complaints(invoked(*words, cwd=tmp_path))

    assert [sentence.split(":")[1].strip() for sentence in said] == [
        "detector.0.model",
        "detector.1.features",
        "detector.1.model",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["astray.toml", "events.jsonl"]


def test_a_replay_with_detectors_can_be_explained_to_the_bit(tmp_path):
    """Their bits stand among those of the core, and are derived again as they were."""
    attacked_fleet(tmp_path, 2.0)
    config = tmp_path / "astray.toml"
    config.write_text(GOOD)
    events = tmp_path / "fleet.jsonl"

    with offering(tmp_path):
        replays = []
        for name in ("first", "second"):
            out = tmp_path / f"{name}.jsonl"
            result = invoked("replay", events, "--config", config, "--scores", out, cwd=tmp_path)
            assert result.returncode == 0, result.stderr.decode()
            replays.append(out.read_bytes())
        sessions = [orjson.loads(line) for line in replays[0].splitlines()]
        odd = max(sessions, key=lambda session: session["n"])
        told = invoked(
            "explain", odd["session"], "--agent", odd["agent"], "--events", events,
            "--config", config, "--json", cwd=tmp_path,
        )  # fmt: skip

    assert replays[0] == replays[1]
    assert told.returncode == 0, told.stderr.decode()
    explained = orjson.loads(told.stdout)
    assert list(explained["bits"])[-2:] == ["unheard", "hst"]
    assert explained["n"] == pytest.approx(odd["n"])
