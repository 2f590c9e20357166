"""From a table to a model, or to sentences that say what is wrong with it."""

import random

import pytest

from astray.config import load_config
from astray.detectors import features
from astray.detectors.bounds import NODES_MAX
from astray.detectors.features import DEFAULT, FEATURES, WHOSE
from astray.detectors.models import check_detectors, features_for, model_of, warmup_of
from astray.errors import ConfigError

HST = {"name": "hst", "model": "river.anomaly.HalfSpaceTrees"}
SCALER, SVM = "river.preprocessing.StandardScaler", "river.anomaly.OneClassSVM"


def configured(*tables):
    """Return a configuration with these detectors."""
    return load_config(overrides={"detector": list(tables)})


def problems(*tables):
    """Return the sentences about these detectors."""
    with pytest.raises(ConfigError) as caught:
        check_detectors(configured(*tables))
    return list(caught.value.problems)


def sessions(names, count=400):
    """Return sessions as a detector sees them, and one that is odd."""
    draws = random.Random(5)
    usual = [{name: 0.3 + 0.05 * draws.random() for name in names} for _ in range(count)]
    return usual, dict.fromkeys(names, 0.95)


@pytest.mark.parametrize(
    "table",
    [
        HST,
        {"name": "loda", "model": "river.anomaly.LODA"},
        {"name": "lof", "model": "river.anomaly.LocalOutlierFactor"},
        {"name": "g", "model": "river.anomaly.GaussianScorer", "features": ["bytes"]},
        {"name": "s", "model": "river.anomaly.StandardAbsoluteDeviation", "features": ["bytes"]},
        {"name": "b", "model": [SCALER, "river.anomaly.LocalOutlierFactor"]},
        {"name": "own", "model": "unheard"},
    ],
    ids=lambda table: table["name"],
)  # fmt: skip
def test_a_model_finds_what_is_odd(table):
    """Any of river's, with a scaler or without, and one of somebody's own; seeds make it one."""
    config = configured({"features": ["bytes", "events"], **table})
    check_detectors(config)
    (detector,) = config.detector
    usual, odd = sessions(features_for(detector))
    models = [model_of(detector), model_of(detector)]

    for model in models:
        for session in usual:
            model.learn_one(session)

    scores = [[model.score_one(x) for x in (*usual[-20:], odd)] for model in models]
    assert scores[0] == scores[1]
    assert scores[0][-1] > max(scores[0][:-1])


def test_a_pipeline_and_a_machine_take_their_options():
    """The last model's stand in the table, an earlier one's under its class's name."""
    options = {"nu": 0.2, "StandardScaler": {"with_std": False}}
    (detector,) = configured({"name": "svm", "model": [SCALER, SVM], "options": options}).detector

    model = model_of(detector)

    assert model["OneClassSVM"].nu == 0.2
    assert model["StandardScaler"].with_std is False


def test_half_space_trees_are_listened_to_after_their_first_window():
    """Before it they have no opinion, and 0 would be one."""
    table = {**HST, "options": {"window_size": 500}, "warmup": 20}
    (long, short) = configured(table, {**HST, "name": "b", "warmup": 300}).detector
    piped = {"name": "p", "model": ["river.preprocessing.MinMaxScaler", HST["model"]], "warmup": 1}
    (last,) = configured(piped).detector

    warmups = [warmup_of(one, model_of(one)) for one in (long, short, last)]

    assert warmups == [501, 300, 251]


def test_all_problems_of_all_detectors_are_told_at_once():
    """Each names the detector and the key, and what there is instead."""
    said = problems(
        {"name": "a", "model": "river.anomaly.HalfSpaceTree", "features": ["byte"]},
        {"name": "b", "model": "nobodys"},
        {**HST, "options": {"trees": 3}},
        {"name": "d", "model": "river.anomaly.GaussianScorer"},
        {"name": "e", "model": [SVM, SVM]},
        {"name": "rhythm", "model": "river.nomaly.X"},
        {"name": "g", "model": [SCALER, "mute"], "options": {"StandardScaler": 1}},
        {"name": "h", "model": "gone"},
    )

    there = ", ".join(sorted({*FEATURES, *WHOSE}))
    assert said == [
        f"detector.0.features: there is no byte; there are {there}",
        (
            "detector.0.model: river.anomaly.HalfSpaceTree: river.anomaly has no such class; "
            "did you mean river.anomaly.HalfSpaceTrees?"
        ),
        (
            "detector.1.model: nobodys: neither a class of river's, such as "
            "river.anomaly.HalfSpaceTrees, nor an entry point of the group astray.detectors; "
            "there are echo, gone, lost, midas-r, moody, mute, unheard, unkept"
        ),
        (
            "detector.2.options.trees: HalfSpaceTrees has no such option; "
            "there are n_trees, height, window_size, limits, seed"
        ),
        "detector.3.features: GaussianScorer looks at one number; name the one",
        "detector.4.model: OneClassSVM cannot stand before a detector: it transforms nothing",
        "detector.5.name: rhythm is already something else in decisions",
        "detector.5.model: river.nomaly.X: river has no module river.nomaly",
        "detector.6.model: Mute is no detector: it has no score_one and learn_one",
        (
            "detector.7.model: gone: offered:Gone cannot be imported: "
            "module 'offered' has no attribute 'Gone'"
        ),
    ]


def test_a_model_that_does_not_like_its_options_says_so_before_anything_starts():
    """It is made, and tried on a few sessions."""
    said = problems(
        {"name": "a", "model": "midas-r", "features": list(WHOSE), "options": {"seed": "x"}},
        {"name": "b", "model": "moody", "options": {"mood": 0.0}},
        {"name": "c", "model": "echo", "features": ["events"]},
        {"name": "d", "model": [SCALER, SVM], "options": {"StandardScaler": 1}},
    )

    assert said == [
        ("detector.0.options: MidasR does not work with them: "
        "ValueError: seed must be a whole number of 64 bits, got x"),
        "detector.1.options: Moody does not work with them: ZeroDivisionError: float division by zero",
        "detector.2.features: Echo asks for bytes, which is none of them",
        "detector.3.options.StandardScaler: should be a table",
    ]  # fmt: skip


LEAST_1, LEAST_0 = (f"input should be greater than or equal to {least}" for least in (1, 0))
ABOVE_0, NO_OBJECT = "input should be greater than 0", "is an object of river's, which no file can name: leave it out"  # fmt: skip
WHOLE, NUMBER = "input should be a valid integer", "input should be a valid number"


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("HalfSpaceTrees", {"n_trees": 0}, f"n_trees: {LEAST_1}"),
        ("HalfSpaceTrees", {"n_trees": -1}, f"n_trees: {LEAST_1}"),
        ("HalfSpaceTrees", {"n_trees": "many"}, f"n_trees: {WHOLE}"),
        ("HalfSpaceTrees", {"height": 0}, f"height: {LEAST_1}"),
        ("HalfSpaceTrees", {"height": 16}, "height: 10 trees (n_trees) of height 16 have 1,310,710 nodes; 65,536 are the most that are built within a second"),
        ("HalfSpaceTrees", {"n_trees": 200}, "height: 200 trees (n_trees) of height 8 have 102,200 nodes; 65,536 are the most that are built within a second"),
        ("HalfSpaceTrees", {"window_size": 0}, f"window_size: {LEAST_1}"),
        ("HalfSpaceTrees", {"limits": {"bytes": [1, 0]}}, "limits: the first should be below the second: bytes"),
        ("HalfSpaceTrees", {"limits": {"bytes": 1}}, "limits.bytes: should be an array"),
        ("HalfSpaceTrees", {"seed": "x"}, "seed: should be a whole number"),
        ("LODA", {"n_bins": -1}, f"n_bins: {LEAST_1}"),
        ("LODA", {"n_random_cuts": 0}, f"n_random_cuts: {LEAST_1}"),
        ("LODA", {"n_random_cuts": 10**9}, "n_random_cuts: input should be less than or equal to 1000"),
        ("OneClassSVM", {"nu": -0.1}, f"nu: {ABOVE_0}"),
        ("OneClassSVM", {"nu": "x"}, f"nu: {NUMBER}"),
        ("OneClassSVM", {"nu": 5}, "nu: input should be less than or equal to 1"),
        ("OneClassSVM", {"clip_gradient": -1.0}, f"clip_gradient: {ABOVE_0}"),
        ("OneClassSVM", {"optimizer": "SGD"}, f"optimizer: {NO_OBJECT}"),
        ("LocalOutlierFactor", {"n_neighbors": -1}, f"n_neighbors: {LEAST_1}"),
        ("GaussianScorer", {"window_size": 0}, "window_size: input should be greater than or equal to 2"),
        ("GaussianScorer", {"grace_period": -1}, f"grace_period: {LEAST_0}"),
        ("StandardAbsoluteDeviation", {"sub_stat": "mean"}, f"sub_stat: {NO_OBJECT}"),
        ("PredictiveAnomalyDetection", {"n_std": 0}, f"n_std: {ABOVE_0}"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_told_by_their_names(model, options, sentence):
    """Models take them, and find nothing, take minutes, or break once they have learnt."""
    table = {"name": "a", "model": f"river.anomaly.{model}", "features": ["bytes"]}

    assert problems({**table, "options": options}) == [f"detector.0.options.{sentence}"]


def test_options_of_earlier_steps_are_told_by_their_tables():
    """A switch is true or false: of any text river would take it for on."""
    table = {"name": "a", "model": ["river.preprocessing.RobustScaler", SVM]}
    given = {"with_scaling": "no", "q_inf": "low"}

    said = problems({**table, "options": {"RobustScaler": given}})

    assert said == [
        "detector.0.options.RobustScaler.with_scaling: should be true or false",
        "detector.0.options.RobustScaler.q_inf: should be a number",
    ]


def test_half_space_trees_may_be_as_large_as_they_are_said_to_be():
    """At the bound they are accepted."""
    most = {"n_trees": 8, "height": 12}

    check_detectors(configured({**HST, "options": most}))

    assert most["n_trees"] * (2 ** (most["height"] + 1) - 1) <= NODES_MAX < 9 * 2**13 - 9


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"name": "A b", "model": "x"}, "detector.0.name: string should match pattern '^[a-z][a-z0-9_-]{0,31}$'"),
        ({"name": "a"}, "detector.0.model: is missing"),
        ({"name": "a", "model": []}, "detector.0.model: array should have at least 1 item after validation, not 0"),
        ({"name": "a", "model": "x", "per": "agent"}, "detector.0.per: input should be 'fleet' or 'group'"),
        ({"name": "a", "model": "x", "seed": -1}, "detector.0.seed: input should be greater than or equal to 0"),
        ({"name": "a", "model": "x", "features": ["bytes", "bytes"]}, "detector.0: features are given twice: bytes"),
        ({"name": "a", "model": "x", "weight": 2}, "detector.0.weight: there is no such key"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.split(":")[0],
)  # fmt: skip
def test_a_table_that_is_none_is_told(table, sentence):
    """What is wrong with the table itself, in the words of all configuration."""
    with pytest.raises(ConfigError) as caught:
        configured(table)

    assert list(caught.value.problems) == [f"configuration: {sentence}"]


def test_two_detectors_have_two_names():
    """Their shares in the evidence are told apart by them."""
    with pytest.raises(ConfigError, match="detector names must differ: hst"):
        configured(HST, HST)


def test_without_detectors_scores_depend_on_none():
    """The hash of what scores depend on is that of a configuration that knows of no detectors."""
    plain, one, other = configured(), configured(HST), configured({**HST, "seed": 8})

    assert len({plain.model_hash, one.model_hash, other.model_hash}) == 3
    assert plain.model_hash == load_config().model_hash


def test_what_is_seen_by_default_is_there():
    """The documented set is made of features, and every feature has a sentence-worthy name."""
    assert set(DEFAULT) <= set(FEATURES)
    assert features.unknown_features(DEFAULT) == []
