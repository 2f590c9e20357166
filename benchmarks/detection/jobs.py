"""The bench in pieces, each of which a process of its own can do."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from detection.evaluating import baselines_of, quality_of
from detection.experiments import ablated, ablations, fused_otherwise, kept
from detection.plugins import DETECTORS, plugged
from detection.recordings import Recording, campaigns, clean, contaminated, fleets, real
from detection.tagging import tagged

CONTAMINATIONS = (0.1, 1.0, 5.0, 20.0)
"""Per cent of a stream's sessions that are attacks."""


@dataclass(frozen=True)
class Job:
    """A piece of work: which part of the results it is, about which recording."""

    part: str
    recording: Recording
    variant: str = ""

    def result(self) -> Any:
        """Do it."""
        match self.part:
            case "sets":
                return quality_of(self.recording)
            case "baselines":
                return baselines_of(self.recording)
            case "ablations":
                return ablated(self.recording, self.variant)
            case "fusions":
                return fused_otherwise(self.recording)
            case "plugins":
                return plugged(self.recording, self.variant)
            case "tagging":
                return tagged(self.recording)
            case _:
                return kept(quality_of(self.recording))


def jobs(data: Path, scratch: Path, parts: set[str]) -> list[Job]:
    """Return all pieces of work of some parts, the longest first."""
    recordings, made = real(data), fleets(scratch)
    studied = [recordings[0], made[0]]
    every = [
        *(Job("baselines", one) for one in (recordings[2], *made, *recordings[:2])),
        *(Job("sets", one) for one in (recordings[2], *made, *clean(scratch), campaigns(scratch))),
        *(Job("sets", one) for one in recordings if one is not recordings[2]),
        *(Job("tagging", one) for one in made),
        *(Job("contamination", contaminated(scratch, each), f"{each:g} %")
          for each in reversed(CONTAMINATIONS)),
        *(Job("fusions", one) for one in studied),
        *(Job("ablations", one, name) for one in studied for name in ablations()),
        *(Job("plugins", one, name) for one in studied for name in DETECTORS),
    ]  # fmt: skip
    return [job for job in every if job.part in parts]


def placed(work: list[Job], processes: int) -> dict[str, bool]:
    """Make the recordings of all work that can be made; return by name whether they are there."""
    recordings = {job.recording.name: job.recording for job in work}
    if processes == 1:
        return {name: recording.placed() for name, recording in recordings.items()}
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        there = pool.map(Recording.placed, recordings.values())
        return dict(zip(recordings, there, strict=True))


def done(work: list[Job], processes: int) -> Iterator[tuple[Job, Any]]:
    """Do the work, and return each piece as it is ready."""
    if processes == 1:
        yield from ((job, job.result()) for job in work)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        waiting = {pool.submit(job.result): job for job in work}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
