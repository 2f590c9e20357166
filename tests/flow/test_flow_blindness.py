"""Silences through the real dataflow: batches, restarts, tenants, and fleets over weeks."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from astray.config import Config, load_config
from astray.decide.silence import Kind, Over, Silence
from astray.events import Event, encode_event, parse_line
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.recovery import open_recovery
from astray.flow.sinks import Calling, RejectsFile
from astray.flow.sources import Reading, Sources
from astray.flow.steps import Context
from astray.lab.simulate import SimulationOptions, simulate
from astray.lab.simulate.recording import event_lines

_HOUR_US = 3_600_000_000
_START_US = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z, a Monday."""

_CONFIG = load_config(overrides={"blindness": {"learn_days": 2.0}})
_FILE = "events.jsonl"


@dataclass
class Run:
    """Runs over a growing file, and the silences that came of them, each once."""

    folder: Path
    config: Config = _CONFIG
    silences: dict[str, Silence] = field(default_factory=dict)

    def on(self, data: bytes, interval_s: float = 3600.0) -> "Run":
        """Append lines, and run to their end."""
        path = self.folder / _FILE
        with path.open("ab") as file:
            file.write(data)
        context = Context(self.config, [str(path)], Counters(), durable=True)
        source = Sources([str(path)], Reading())
        flow = build_flow(context, source, Calling(self._take), RejectsFile(None))
        with open_recovery(self.folder / "state", self.config) as recovery:
            run_flow(flow, interval_s, recovery)
        return self

    def _take(self, ruling):
        for silence in ruling.silences:
            assert silence.id not in self.silences
            self.silences[silence.id] = silence

    @property
    def begun(self) -> list[tuple[str, Kind, str, int]]:
        """Return what has fallen silent: tenant, kind, name, and the hour it was noticed."""
        return sorted(
            (s.tenant, s.kind, s.name, (s.ts_us - _START_US) // _HOUR_US)
            for s in self.silences.values()
            if s.over is Over.NOT_YET
        )


def events(hours, stops):
    """Return the lines of hourly agents of four tenants; some stop at an hour."""
    found = []
    for hour in hours:
        for number in range(16):
            tenant, agent = f"tenant-{number % 4}", f"agent-{number // 4}"
            if stops.get((tenant, agent), hour + 1) > hour:
                ts_us = _START_US + hour * _HOUR_US + number
                found.append(Event(ts_us, agent, "run", tenant=tenant, group=f"g{number}"))
    return b"".join(encode_event(event) + b"\n" for event in found)


_STOPS = {("tenant-0", "agent-1"): 100, ("tenant-3", "agent-2"): 110}
_BEGUN = [
    ("tenant-0", Kind.AGENT, "agent-1", 103),
    ("tenant-3", Kind.AGENT, "agent-2", 113),
]


def test_an_agent_of_each_of_two_tenants_stops(tmp_path):
    """Whatever decider and shard they are of, each is missed in its own tenant, in time."""
    run = Run(tmp_path).on(events(range(130), _STOPS))

    assert run.begun == _BEGUN


@pytest.mark.parametrize("cut", [50, 101, 105], ids=["before", "meanwhile", "after"])
def test_a_restart_changes_nothing_of_it(cut, tmp_path):
    """State and file go on where they were, in the middle of a silence, too."""
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = Run(tmp_path / "whole").on(events(range(130), _STOPS))

    parts = Run(tmp_path / "parts")
    for hours in (range(cut), range(cut, 130)):
        parts.on(events(hours, _STOPS))

    assert parts.silences == whole.silences != {}


def test_a_snapshot_at_every_turn_changes_nothing_of_it(tmp_path):
    """Dumping is looking."""
    for folder in ("seldom", "often"):
        (tmp_path / folder).mkdir()
    seldom = Run(tmp_path / "seldom").on(events(range(130), _STOPS))

    often = Run(tmp_path / "often").on(events(range(130), _STOPS), interval_s=0.001)

    assert often.silences == seldom.silences != {}


@pytest.mark.slow
def test_a_simulated_fleet_is_quiet_and_those_who_stop_are_missed(tmp_path):
    """Six weeks with weekends, a holiday and jobs of all kinds: no false alarm in 8,000 agent-days.

    A tenth stops after four weeks; nearly all of them are missed within two more.
    """
    options = SimulationOptions(
        agents=300, days=42.0, seed=4, events_per_session=2.0, late_share=0.0
    )
    lines = b"".join(event_lines(simulate(options))).splitlines(keepends=True)
    stop_us = _START_US + 28 * 24 * _HOUR_US
    kept = []
    for line in lines:
        event = parse_line(line, 2**62)
        assert isinstance(event, Event)
        if not (event.agent.endswith("7") and event.ts_us >= stop_us):
            kept.append(line)
    folders = [tmp_path / "whole", tmp_path / "stopped"]
    for folder in folders:
        folder.mkdir()

    whole = Run(folders[0], load_config()).on(b"".join(lines))
    stopped = Run(folders[1], load_config()).on(b"".join(kept))

    agents = {name for _, kind, name, _ in stopped.begun if kind is Kind.AGENT}
    assert whole.begun == []
    assert len(agents) >= 25
    assert {name[-1] for name in agents} == {"7"}
