"""What is measured on: recordings that may be there, and fleets that are made.

The ids are permanent: results of different days are compared by them. A fleet is remade from
its seed wherever it is needed, so nothing has to be kept.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from astray.lab.labels import Label, read_labels
from astray.lab.simulate import SimulationOptions, simulate, write
from baselines.protocol import Key

KINDS = (
    "stolen_credential",
    "enumeration",
    "exfiltration",
    "privileged_action",
    "mimicry",
    "injected_task",
)
"""The attacks that a session alone can show."""

CAMPAIGNS = ("slow_abuse", "patient_poisoning")
"""Those that go on over many sessions, each next to nothing; a stream of their own has them."""

SEEDS = (11, 12, 13, 14, 15)
_AGENTS, _GROUP, _DAYS = 64, 8, 30.0
_EACH = 20


@dataclass(frozen=True)
class Recording:
    """A recording to measure on; its files are there once it has been `placed`."""

    name: str
    folder: Path
    options: SimulationOptions | None = field(default=None, repr=False)

    @property
    def events(self) -> Path:
        """Return the path of the events."""
        return self.folder / f"{self.name}.events.jsonl.gz"

    @property
    def label_file(self) -> Path:
        """Return the path of the answers."""
        return self.folder / f"{self.name}.labels.jsonl.gz"

    def placed(self) -> bool:
        """Make the files if they can be made; return whether they are there."""
        if self.options is not None and not self.label_file.exists():
            write(simulate(self.options), self.events, self.label_file)
        return self.events.exists() and self.label_file.exists()

    def labels(self) -> Mapping[Key, Label]:
        """Return the answers by agent and session."""
        labels = read_labels(self.label_file).values()
        return {(label.agent, label.session): label for label in labels}

    def digest(self) -> str:
        """Return a hash of events and answers."""
        digest = hashlib.sha256()
        for path in (self.events, self.label_file):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def real(folder: Path) -> list[Recording]:
    """Return the recordings that others have made."""
    names = ("agentdojo-fresh-dev", "agentdojo-dev", "darpa98", "taubench")
    return [Recording(name, folder) for name in names]


def fleets(folder: Path, seeds: tuple[int, ...] = SEEDS) -> list[Recording]:
    """Return simulated fleets, each with some attacks of the six kinds."""
    attacks = dict.fromkeys(KINDS, _EACH)
    return [_fleet(f"simulate-{seed}", folder, attacks, seed) for seed in seeds]


def clean(folder: Path, seeds: tuple[int, ...] = SEEDS[:3]) -> list[Recording]:
    """Return the same fleets unharmed: attacks in a reference hide how well it is calibrated."""
    return [_fleet(f"simulate-clean-{seed}", folder, {}, seed) for seed in seeds]


def campaigns(folder: Path) -> Recording:
    """Return a simulated fleet with slow abuse and patient poisoning."""
    return _fleet("simulate-campaigns-11", folder, dict.fromkeys(CAMPAIGNS, 8), SEEDS[0])


def contaminated(folder: Path, percent: float) -> Recording:
    """Return a fleet in which so many per cent of the sessions after the warm-up are attacks."""
    tested = _AGENTS * _DAYS * 10.0 * (2 / 3)
    each = max(1, round(tested * percent / (100.0 - percent) / len(KINDS)))
    attacks = dict.fromkeys(KINDS, each)
    return _fleet(f"simulate-contaminated-{percent:g}", folder, attacks, SEEDS[0])


def _fleet(name: str, folder: Path, attacks: Mapping[str, int], seed: int) -> Recording:
    options = SimulationOptions(
        agents=_AGENTS, agents_per_group=_GROUP, days=_DAYS, attacks=attacks, seed=seed
    )
    return Recording(name, folder, options)
