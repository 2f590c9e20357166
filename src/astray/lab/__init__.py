"""Tools for data scientists: simulate, replay, measure, tune, compare, report.

In a notebook:

    from astray.lab import plot, read_recording, score

    recording = read_recording("fleet.events.jsonl.gz")
    sessions = score(recording)
    sessions.where(sessions["score"] >= 60).to_pandas()
    plot.roc(sessions)
"""

from astray.lab import plot
from astray.lab.notebook import Recording, read_recording, score
from astray.lab.table import Table

__all__ = ["Recording", "Table", "plot", "read_recording", "score"]
