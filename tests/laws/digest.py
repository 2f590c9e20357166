"""Prints digests of what comes of a fixed stream; run compiled and interpreted."""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from astray.events import Chunk, decode
from astray.lab.simulate import SimulationOptions, parse_attacks, simulate
from astray.lab.simulate.recording import event_lines
from core import Core, small_config

_EVENTS = 1500
_BATCH = 400
_SECTIONS = {
    "events": {"shards": 2},
    "sensitive": {"actions": ["*.update*", "iam.*"], "resources": ["*secret*"]},
    "grants": {"file": str(Path(__file__).with_name("grants.jsonl"))},
}


def main() -> None:
    """Feed a small fleet under attack through two shards and a decider."""
    options = SimulationOptions(agents=12, days=8, seed=5, attacks=parse_attacks("all=1"))
    lines = b"".join(event_lines(simulate(options))).splitlines(keepends=True)[:_EVENTS]
    core = Core(small_config(**_SECTIONS))
    rulings = hashlib.blake2b(digest_size=8)
    for first in range(0, len(lines), _BATCH):
        data = b"".join(lines[first : first + _BATCH])
        ruling = core.take(decode(Chunk("source", 0, data), 2**62))
        rulings.update(repr([ruling.decisions, [s.tobytes() for s in ruling.scored]]).encode())
    states = [hashlib.blake2b(state, digest_size=8) for state in core.dump()]
    print(*(digest.hexdigest() for digest in (rulings, *states)))  # noqa: T201 - its one purpose


if __name__ == "__main__":
    main()
