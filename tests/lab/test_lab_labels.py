"""Reading the answers of a recording, and naming the lines that are none."""

import gzip

import orjson
import pytest

from astray.errors import ConfigError
from astray.lab.labels import PROBLEMS_MAX, Label, label_of, read_labels

GOOD = {"session": "s", "agent": "a", "label": 1}


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.jsonl.gz"])
def test_labels_are_read_by_agent_and_session(name, tmp_path):
    """Plain and compressed files give the same labels; what is not said has its default."""
    full = {
        **GOOD,
        "session": "t",
        "label": 0,
        "attack": None,
        "phase": "warmup",
        "first_bad_event": "e1",
    }
    data = orjson.dumps(GOOD) + b"\n\n" + orjson.dumps(full)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)

    labels = read_labels(path)

    assert labels == {
        (None, "a", "s"): Label("s", "a", bad=True, attack="", phase="test", first_bad_event=""),
        (None, "a", "t"): Label(
            "t", "a", bad=False, attack="", phase="warmup", first_bad_event="e1"
        ),
    }


def test_labels_are_of_tenants_where_any_line_names_one(tmp_path):
    """The rest are of sessions that have none; where no line does they are whatever tenant's."""
    named = orjson.dumps({**GOOD, "tenant": "acme"}) + b"\n" + orjson.dumps({**GOOD, "label": 0})
    (tmp_path / "new.jsonl").write_bytes(named)
    (tmp_path / "old.jsonl").write_bytes(orjson.dumps(GOOD))

    new, old = (read_labels(tmp_path / f"{name}.jsonl") for name in ("new", "old"))

    sessions = [(tenant, "a", "s") for tenant in ("acme", "", "other")]
    found = [[label_of(labels, key) for key in sessions] for labels in (new, old)]
    assert [label and label.bad for label in found[0]] == [True, False, None]
    assert [label and label.bad for label in found[1]] == [True, True, True]


def test_bad_lines_are_all_named(tmp_path):
    """Every line that is no label is named by its number, with what is wrong."""
    bad = [
        b"{",
        b"[]",
        orjson.dumps({**GOOD, "session": 1}),
        orjson.dumps({"session": "s", "label": 1}),
        orjson.dumps({**GOOD, "attack": 3}),
        orjson.dumps({**GOOD, "tenant": 3}),
        orjson.dumps({**GOOD, "label": 2}),
        orjson.dumps({**GOOD, "label": None}),
    ]
    path = tmp_path / "labels.jsonl"
    path.write_bytes(orjson.dumps(GOOD) + b"\n\n" + b"\n".join(bad))

    with pytest.raises(ConfigError) as caught:
        read_labels(path)

    assert caught.value.problems == (
        f"{path}:3: not a label: not JSON",
        f"{path}:4: not a label: not an object",
        f"{path}:5: not a label: session is not a text",
        f"{path}:6: not a label: agent is not a text",
        f"{path}:7: not a label: attack is neither a text nor null",
        f"{path}:8: not a label: tenant is neither a text nor null",
        f"{path}:9: not a label: label is neither 0 nor 1",
        f"{path}:10: not a label: label is neither 0 nor 1",
    )


def test_of_many_bad_lines_the_first_are_named_and_the_rest_counted(tmp_path):
    """A file that is no labels at all does not fill the screen."""
    path = tmp_path / "labels.jsonl"
    path.write_bytes(b"nonsense\n" * (PROBLEMS_MAX + 1500))

    with pytest.raises(ConfigError) as caught:
        read_labels(path)

    assert len(caught.value.problems) == PROBLEMS_MAX + 1
    assert caught.value.problems[-1] == f"{path}: and 1,500 more such lines"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("labels.jsonl", None, "No such file or directory", id="missing"),
        pytest.param("labels.jsonl.gz", b"plain", "Not a gzipped file", id="not compressed"),
        pytest.param(
            "labels.jsonl.gz", gzip.compress(b"x" * 99)[:-9], "Compressed file ended", id="cut"
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name, content, reason, tmp_path):
    """What keeps a file of labels from being read is said with its name."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=f"{name}: cannot be read: {reason}"):
        read_labels(path)
