"""What it is worth to say which actions matter: fleets whose powerful actions are tagged.

The ids are permanent. What is tagged is all that the simulator's intruders reach for.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from astray.config import Config, load_config
from astray.lab.simulate.catalog import PRIVILEGED
from detection.evaluating import Numbers, quality_of
from detection.recordings import Recording
from detection.targets import REALISED, Row

_ABUSE = "privileged_action"
_RECALL, _RATE = "recall_at_0.001", "realised_0.01"


def tagging() -> Config:
    """Return the default configuration with powerful actions tagged as sensitive."""
    return load_config(overrides={"sensitive": {"actions": sorted(PRIVILEGED)}})


def tagged(recording: Recording) -> Numbers:
    """Return what is found of the abuse of powerful actions where they are tagged."""
    return abuse_of(quality_of(recording, tagging()))


def abuse_of(quality: Numbers) -> Numbers:
    """Return what of a recording's numbers is about the abuse of powerful actions."""
    found = quality["by_attack"][_ABUSE]
    return {_RECALL: found[_RECALL], _RATE: quality["measures"][_RATE]}


def tagging_rows(sets: Mapping[str, Any], tagged: Mapping[str, Any]) -> Iterator[Row]:
    """Give what is found with tags and without over all fleets, and how honest scores are."""
    alone = {name: abuse_of(sets[name]) for name in tagged if name in sets}
    for title, found in (("untagged", alone), ("tagged", tagged)):
        yield _over_seeds(f"simulate/{_ABUSE}/{title}/{_RECALL}", found, _RECALL)
    yield _over_seeds(f"simulate/{_ABUSE}/tagged/{_RATE}", tagged, _RATE, *REALISED)


def _over_seeds(
    id_: str,
    found: Mapping[str, Any],
    measure: str,
    low: float | None = None,
    high: float | None = None,
) -> Row:
    values = [one[measure] for one in found.values()]
    mean, spread = (float(np.mean(values)), (min(values), max(values))) if values else (None, None)
    return Row(id_, mean, low, high, spread, f"mean over {len(values)} seeds")
