"""What to simulate: the options, checked all at once."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from astray.errors import ConfigError
from astray.lab.simulate.attacks import ATTACKS

AGENTS_MAX = 50_000
DAYS_MAX = 3_650.0
EVENTS_MAX = 10_000_000  # all are made in memory, at under a kilobyte each
_SHARES = (
    "warmup_share",
    "ungrouped_share",
    "late_share",
    "role_change_share",
    "roll_out_share",
    "drift_share",
    "ad_hoc_share",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationOptions:
    """The size, the clock, the oddities and the attacks of a simulated fleet.

    Parameters
    ----------
    agents, agents_per_group, tenants
        How many identities there are and how they are divided; a group has one tenant. With
        one tenant events carry none.
    days, start
        The time span, from midnight UTC of an ISO date.
    warmup_share
        Sessions that begin before this share of the span are warm-up; attacks come after.
    sessions_per_day, events_per_session
        Means over agents, days and sessions; single ones differ widely.
    ungrouped_share
        Agents whose events do not say their group.
    late_share, role_change_share, drift_share
        Agents that are born during the span, that get another job, whose resources shift.
    roll_out_share
        Groups that are given a new tool on one day.
    ad_hoc_share
        Sessions with a task and with resources unusual for their agent.
    incidents_per_week
        Hours in which most calls of a group fail and are repeated.
    attacks
        Kind to number of attacked sessions, or of campaigns (`slow_abuse`,
        `patient_poisoning`). `patient_poisoning` takes each victim once.
    seed
        Equal options give equal bytes. Attacks draw apart: benign behaviour is the same
        with and without them.

    Raises
    ------
    ConfigError
        With every problem of the options in one message.
    """

    agents: int = 160
    agents_per_group: int = 20
    tenants: int = 1
    days: float = 30.0
    start: str = "2026-01-05"
    warmup_share: float = 1 / 3
    sessions_per_day: float = 10.0
    events_per_session: float = 17.0
    ungrouped_share: float = 0.0
    late_share: float = 0.12
    role_change_share: float = 0.035
    roll_out_share: float = 0.2
    drift_share: float = 0.15
    ad_hoc_share: float = 0.008
    incidents_per_week: float = 1.0
    attacks: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [*_problems(self)] or [*_size_problems(self)]
        if problems:
            raise ConfigError(problems)

    @property
    def first_weekday(self) -> int:
        """The weekday of the first day, Monday being 0."""
        return date.fromisoformat(self.start).weekday()

    @property
    def start_ms(self) -> int:
        """The first moment, in milliseconds since the epoch."""
        midnight = datetime.combine(date.fromisoformat(self.start), datetime.min.time(), UTC)
        return int(midnight.timestamp()) * 1000


def parse_attacks(text: str) -> dict[str, int]:
    """Read `"enumeration=20,exfiltration=10"`; `all=N` stands for every kind.

    Later entries win, so `"all=10,mimicry=0"` leaves one kind out. Raises ConfigError with
    every problem in one message.
    """
    attacks: dict[str, int] = {}
    problems = []
    for entry in filter(None, map(str.strip, text.split(","))):
        kind, _, count = map(str.strip, entry.partition("="))
        if not (count.isascii() and count.isdigit()):
            problems.append(f"{entry!r} is not of the form kind=number")
        elif kind == "all":
            attacks |= dict.fromkeys(ATTACKS, int(count))
        else:
            attacks[kind] = int(count)
    problems += attack_problems(attacks)
    if problems:
        raise ConfigError(problems)
    return attacks


def attack_problems(attacks: Mapping[str, int]) -> Iterator[str]:
    """Say what is wrong with kinds and numbers of attacks, one sentence each."""
    for kind, count in attacks.items():
        if kind not in ATTACKS:
            yield f"attack {kind!r} is none of {', '.join(ATTACKS)}"
        elif not _is_whole(count) or count < 0:
            yield f"attack {kind!r} needs a whole number from 0, got {count!r}"


def _problems(options: SimulationOptions) -> Iterator[str]:
    for name in ("agents", "agents_per_group", "tenants"):
        value = getattr(options, name)
        if not _is_whole(value) or not 1 <= value <= AGENTS_MAX:
            yield f"{name} must be a whole number from 1 to {AGENTS_MAX}, got {value!r}"
    if not _is_whole(options.seed) or options.seed < 0:
        yield f"seed must be a whole number from 0, got {options.seed!r}"
    for name, high in (
        ("days", DAYS_MAX),
        ("sessions_per_day", 1_000.0),
        ("events_per_session", 400.0),
        ("incidents_per_week", 100.0),
        *((name, 1.0) for name in _SHARES),
    ):
        yield from _number_problems(name, getattr(options, name), high)
    if not _is_date(options.start):
        yield f"start must be an ISO date from 1971 to 2100, got {options.start!r}"
    yield from attack_problems(options.attacks)
    campaigns = options.attacks.get("patient_poisoning", 0)
    if _is_whole(campaigns) and _is_whole(options.agents) and campaigns > options.agents:
        yield f"patient_poisoning takes an agent each: {campaigns} exceed {options.agents} agents"
    if options.warmup_share == 1 and any(options.attacks.values()):
        yield "warmup_share 1 leaves no time for attacks"


def _size_problems(options: SimulationOptions) -> Iterator[str]:
    sessions = options.agents * options.days * options.sessions_per_day
    events = sessions * options.events_per_session
    if events > EVENTS_MAX:
        yield f"about {events:.0f} events are more than the {EVENTS_MAX} that fit"


def _number_problems(name: str, value: object, high: float) -> Iterator[str]:
    zero_allowed = name in _SHARES or name == "incidents_per_week"
    low = "from" if zero_allowed else "above"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        yield f"{name} must be a number, got {value!r}"
    elif value > high or value < 0 or (value == 0 and not zero_allowed):
        yield f"{name} must be {low} 0 and at most {high:g}, got {value!r}"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_date(text: object) -> bool:
    try:
        year = date.fromisoformat(str(text)).year
    except ValueError:
        return False
    return 1971 <= year <= 2100
