"""The options of a simulation, and attacks as they stand on a command line."""

from typing import Any

import pytest

from astray.errors import ConfigError
from astray.lab.simulate import ATTACKS, SimulationOptions, parse_attacks


def test_every_problem_of_the_options_is_named_at_once() -> None:
    """One error lists all wrong options, so that nobody repairs them one by one."""
    wrong: dict[str, Any] = {
        "agents": 0,
        "days": -1.0,
        "start": "yesterday",
        "warmup_share": 1.5,
        "sessions_per_day": float("nan"),
        "seed": -3,
        "attacks": {"phishing": 1, "mimicry": -2},
    }

    with pytest.raises(ConfigError, match="agents must") as caught:
        SimulationOptions(**wrong)

    assert all(name in str(caught.value) for name in wrong if name != "attacks")
    assert all(kind in str(caught.value) for kind in wrong["attacks"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"agents": True}, "agents"),
        ({"agents": 2.5}, "agents"),
        ({"days": "30"}, "days"),
        ({"start": "2026-13-01"}, "start"),
        ({"start": "9999-01-01"}, "start"),
        ({"tenants": 0}, "tenants"),
        ({"ad_hoc_share": -0.1}, "ad_hoc_share"),
        ({"events_per_session": 0}, "events_per_session"),
        ({"attacks": {"mimicry": True}}, "mimicry"),
        ({"agents": 3, "attacks": {"patient_poisoning": 4}}, "patient_poisoning"),
        ({"agents": 5_000, "days": 3_000.0}, "events"),
        ({"warmup_share": 1.0, "attacks": {"mimicry": 1}}, "warmup_share"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], problem: str) -> None:
    """Out of range, of the wrong type or impossible together: the error names the option."""
    with pytest.raises(ConfigError, match=problem):
        SimulationOptions(**options)


@pytest.mark.parametrize(
    ("text", "attacks"),
    [
        ("", {}),
        ("enumeration=20,exfiltration=10", {"enumeration": 20, "exfiltration": 10}),
        (" mimicry = 3 , ", {"mimicry": 3}),
        ("all=4", dict.fromkeys(ATTACKS, 4)),
        ("all=4,mimicry=0", dict.fromkeys(ATTACKS, 4) | {"mimicry": 0}),
    ],
)
def test_attacks_are_read_from_a_line(text: str, attacks: dict[str, int]) -> None:
    """Kinds and numbers come as `kind=number`; `all` is every kind and later entries win."""
    assert parse_attacks(text) == attacks


def test_every_problem_of_a_line_of_attacks_is_named_at_once() -> None:
    """Unknown kinds and missing numbers are reported together."""
    with pytest.raises(ConfigError, match="mimicry=many") as caught:
        parse_attacks("mimicry=many,phishing=1,enumeration,exfiltration=-1")

    assert all(word in str(caught.value) for word in ("phishing", "'enumeration'", "=-1"))
