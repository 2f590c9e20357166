"""What a sweep tries, and every way in which it cannot be tried."""

import pytest

from astray.config import Config, load_config
from astray.errors import ConfigError
from astray.lab.sweep import SECTIONS, TRIALS_MAX, Between, config_of, read_space, trials_of

HALF_LIFE, BITS = "baseline.half_life_days", "learning.suspicious_bits"


def test_a_grid_is_tried_as_a_whole_after_nothing_changed():
    """Every combination is a trial, and the first trial changes nothing."""
    space = read_space([f"{HALF_LIFE}=7,60", f"{BITS}=4.0,5.0"], None)

    found = trials_of(space, None, 0)

    assert found == [
        {},
        {HALF_LIFE: 7, BITS: 4.0}, {HALF_LIFE: 7, BITS: 5.0},
        {HALF_LIFE: 60, BITS: 4.0}, {HALF_LIFE: 60, BITS: 5.0},
    ]  # fmt: skip


def test_what_comes_to_the_same_model_is_tried_once():
    """A value that is the default is no trial of its own."""
    default = load_config().baseline.half_life_days

    found = trials_of(read_space([f"{HALF_LIFE}={default},{default:g},7"], None), None, 0)

    assert found == [{}, {HALF_LIFE: 7}]


def test_a_file_says_the_same_as_options(tmp_path):
    """Arrays in a TOML file are the values, and a table of from and to is a range."""
    file = tmp_path / "sweep.toml"
    file.write_text(
        "[baseline]\nhalf_life_days = [7, 60]\n[learning]\nsuspicious_bits = { from = 4.0, to = 8.0 }\n"
        '[events]\nshard_by = ["group", "agent"]\n'
    )

    space = read_space([str(file)], None)

    assert space == read_space(
        [f"{HALF_LIFE}=7,60", f"{BITS}=4.0..8.0", "events.shard_by=group,agent"], None
    )
    assert space[BITS] == Between(4.0, 8.0)
    assert space["events.shard_by"] == ("group", "agent")


def test_random_trials_follow_from_the_seed_and_stay_in_their_ranges():
    """The same seed gives the same trials, another one others; whole ranges give whole numbers."""
    space = read_space([f"{HALF_LIFE}=7.0..60.0", "events.shards=2..8", f"{BITS}=4.0,5.0"], None)

    first, same, other = (trials_of(space, 20, seed) for seed in (1, 1, 2))

    assert first == same != other
    assert len(first) == 21
    for trial in first[1:]:
        assert 7.0 <= trial[HALF_LIFE] <= 60.0
        assert trial["events.shards"] in range(2, 9)
        assert trial[BITS] in (4.0, 5.0)
    assert len({trial[HALF_LIFE] for trial in first[1:]}) == 20


def test_nothing_to_sweep_is_one_trial():
    """Without a sweep thresholds alone are tuned, on the configuration as it is."""
    assert trials_of(read_space([], None), None, 0) == [{}]


def test_a_trial_is_the_configuration_with_its_parameters(tmp_path):
    """Parameters are laid over the base, whose other values stay."""
    base = tmp_path / "base.toml"
    base.write_text("[baseline]\nwindow_s = 600\n")

    config = config_of(base, {HALF_LIFE: 7})

    assert (config.baseline.half_life_days, config.baseline.window_s) == (7, 600)


def test_the_sections_are_those_that_scores_depend_on():
    """What can be swept exists, and what cannot does not change the model."""
    base = load_config().model_hash

    assert set(SECTIONS) <= set(Config.model_fields)
    assert load_config(overrides={"alerts": {"stdout": "off"}}).model_hash == base
    for section, change in (
        ("events", {"shards": 2}), ("sessions", {"idle_s": 60}), ("baseline", {"window_s": 60}),
        ("learning", {"suspicious_bits": 4.0}), ("reference", {"sessions_max": 200}),
        ("flood", {"times_usual": 8.0}),
    ):  # fmt: skip
        assert section in SECTIONS
        assert load_config(overrides={section: change}).model_hash != base


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        pytest.param(f"{HALF_LIFE}=0", f"{HALF_LIFE} = 0: input should be greater than 0", id="bad value"),
        pytest.param(f"{HALF_LIFE}=soon", f"{HALF_LIFE} = 'soon': input should be a valid number", id="no number"),
        pytest.param("baseline.colour=1,2", "baseline.colour = 1: there is no such key", id="no such key"),
        pytest.param("store.url=1", "store.url: scores depend on keys of ", id="no parameter"),
        pytest.param("baseline=1", "baseline: scores depend on keys of ", id="a section"),
        pytest.param(f"{HALF_LIFE}=", f"{HALF_LIFE}: no values", id="no values"),
        pytest.param(f"{HALF_LIFE}=9..7", "a range goes from a number to a higher one", id="backwards"),
        pytest.param(f"{HALF_LIFE}=0..7", "a range lies between two numbers above 0", id="from zero"),
        pytest.param(f"{HALF_LIFE}=a..b", "a range lies between two numbers above 0", id="no numbers"),
        pytest.param("learning.quarantine_score=5.0..500.0", "learning.quarantine_score = 500.0: ", id="end of a range"),
        pytest.param("missing.toml", "neither KEY=VALUE,... nor a file", id="no file"),
        pytest.param("bad.toml", "cannot be read: ", id="no TOML"),
        pytest.param("flat.toml", "baseline: should be a table", id="no table"),
        pytest.param("scalar.toml", "an array of values, or { from", id="no array"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_a_sentence(sweep, sentence, tmp_path):
    """Each sweep that cannot be tried is named with what is wrong."""
    (tmp_path / "bad.toml").write_text("= nothing")
    (tmp_path / "flat.toml").write_text("baseline = 1")
    (tmp_path / "scalar.toml").write_text("[baseline]\nhalf_life_days = 7")
    given = str(tmp_path / sweep) if sweep.endswith(".toml") else sweep

    with pytest.raises(ConfigError) as caught:
        read_space([given], None)

    (problem,) = caught.value.problems
    assert problem.startswith(f"--sweep {given}: ")
    assert sentence in problem


def test_all_problems_are_named_at_once():
    """Several sweeps, several mistakes, one message."""
    with pytest.raises(ConfigError) as caught:
        read_space([f"{HALF_LIFE}=0,-1,7", "x=1", f"{HALF_LIFE}=9"], None)

    said = [problem.partition(": ")[2][:30] for problem in caught.value.problems]
    assert said == [
        "baseline.half_life_days = 0: i", "baseline.half_life_days = -1: ",
        "x: scores depend on keys of ev", "baseline.half_life_days is swe",
    ]  # fmt: skip


def test_a_range_needs_a_number_of_trials_and_a_grid_must_end():
    """A range has no end of values, and a grid of too many trials is refused."""
    with pytest.raises(ConfigError, match=f"--trials: needed for the range of {HALF_LIFE}"):
        trials_of({HALF_LIFE: Between(1.0, 2.0)}, None, 0)
    with pytest.raises(ConfigError, match="give --trials"):
        trials_of({HALF_LIFE: tuple(range(1, TRIALS_MAX + 2))}, None, 0)
