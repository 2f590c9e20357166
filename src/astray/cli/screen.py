"""What people see: alerts, progress, last words. Quiet where nobody is at a terminal.

Alerts go to standard output, for people or as JSON; all else goes to standard error, so
that a pipe gets alerts and nothing else.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from rich.console import Console, Group
from rich.live import Live as LiveDisplay
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from astray.flow.counters import Counters
from astray.flow.reading import Reading

_REFRESH_PER_S = 4
_EVIDENCE_MAX = 4
_STYLES = {2: "cyan", 3: "yellow", 4: "red", 5: "bold red"}


class Screen:
    """A run's face. `form` is `auto`, `human`, `json` or `off`."""

    def __init__(self, form: str = "auto") -> None:
        at_terminal = sys.stdout.isatty()
        self.form = ("human" if at_terminal else "json") if form == "auto" else form
        # At a terminal both go through one console, which keeps alerts above the progress.
        self.console = Console(stderr=not (at_terminal and self.form == "human"), highlight=False)
        self._alerts = self.console if at_terminal else Console(highlight=False)

    def say(self, text: str) -> None:
        """Say something to people."""
        self.console.print(text, markup=False, soft_wrap=True)

    def alert(self, body: bytes) -> None:
        """Show an alert, as an OCSF finding."""
        if self.form == "json":
            write_out(body)
        elif self.form == "human":
            self._alerts.print(told(body))

    @contextmanager
    def progress(self, reading: Reading, counters: Counters) -> Iterator[None]:
        """Show how far a run has got, if there is a terminal to show it on."""
        if not self.console.is_terminal:
            yield
            return
        started_s = time.monotonic()

        def now() -> Group:
            return _progress(reading, counters, time.monotonic() - started_s)

        with LiveDisplay(
            get_renderable=now, console=self.console, refresh_per_second=_REFRESH_PER_S,
            transient=True,
        ):  # fmt: skip
            yield


def write_out(line: bytes) -> None:
    """Write a line to standard output, past its buffer.

    A writer that a stuck reader holds up would keep the buffer's lock, and the process could
    not end.
    """
    out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    left = memoryview(line + b"\n")
    while left:
        left = left[out.write(left) :]


def told(body: bytes) -> Text:
    """Return an alert for people: what, how rare, and why."""
    finding = orjson.loads(body)
    unmapped = finding["unmapped"]
    style = _STYLES.get(finding["severity_id"], "white")
    text = Text()
    text.append(f"{finding['finding_info']['title']}\n", style=style)
    text.append(f"  {finding['message']}\n")
    if "score" in unmapped:
        certified = "certified" if unmapped["certified"] else "not certified"
        text.append(
            f"  score {unmapped['score']:.0f} ({certified}), session {unmapped['session']}, "
            f"policy {unmapped['policy']}, {finding['finding_info']['uid']}\n",
            style="dim",
        )
    for reason in finding["evidences"][:_EVIDENCE_MAX]:
        data = reason.get("data")
        if data:
            text.append(f"  {data['share']:4.0%} ", style=style)
            text.append(f"{data['sentence']}\n")
    return text


def _progress(reading: Reading, counters: Counters, elapsed_s: float) -> Group:
    rate = counters.events / max(elapsed_s, 1e-9)
    rejects = counters.rejects.total()
    line = (
        f"{counters.events:,} events  {rate:,.0f}/s  {counters.sessions:,} sessions ended  "
        f"{counters.agents:,} agents  {rejects:,} rejects"
    )
    grid = Table.grid(padding=(0, 1))
    for name, progress in reading.progress.items():
        if progress.total:
            share = min(progress.done / progress.total, 1.0)
            left_s = elapsed_s / share - elapsed_s if share else 0.0
            bar = ProgressBar(total=1.0, completed=share, width=30)
            grid.add_row(escape(name[-40:]), bar, f"{share:.0%}", f"{left_s:.0f} s left")
    return Group(grid, Text(line, style="dim"))
