"""From the command to the end of a small replay: with nothing compiled yet, and with all of it.

    python benchmarks/start.py [--save]

The yardstick, in the same run: Python importing numba, without which nothing is compiled.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness import made_stream, report, timed
from installation import COMMAND

_UNKEPT = "PYTHONDONTWRITEBYTECODE"
_AGENTS, _DAYS = 20, 2.0
_GOAL = "20 s with nothing compiled, 2 s with all of it"


def _as_installed() -> dict[str, str]:
    """Return the environment, in which Python keeps what it makes of the sources, as it does."""
    return {name: value for name, value in os.environ.items() if name != _UNKEPT}


def _done(command: Sequence[object], **environment: str) -> None:
    subprocess.run(
        [*map(str, command)],
        env={**_as_installed(), **environment},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    """Measure one cold start, then warm ones."""
    with tempfile.TemporaryDirectory() as scratch:
        events = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=1")
        cache = Path(scratch) / "kernels"
        cache.mkdir()

        def replay() -> None:
            _done([*COMMAND, "replay", events], NUMBA_CACHE_DIR=str(cache))

        cold_s = timed(replay, repeats=1)
        warm_s = timed(replay)
        alone_s = timed(lambda: _done([sys.executable, "-c", "import numba"]))
        count = events.read_bytes().count(b"\n")
    results = {
        "events": count,
        "cold_s": round(cold_s, 1),
        "warm_s": round(warm_s, 2),
        "import_numba_s": round(alone_s, 2),
        "ratio_of_warm": round(warm_s / alone_s, 2),
    }
    report("start", _GOAL, results)


if __name__ == "__main__":
    main()
