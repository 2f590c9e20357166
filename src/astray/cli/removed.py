"""`astray cases removed`: what is not in the case store any more, as its audit has it."""

from typing import Annotated

import orjson
import typer

from astray.cli.casefile import output, say
from astray.cli.common import ConfigFile, reporting
from astray.cli.screen import write_out
from astray.config import load_config
from astray.events.clock import iso
from astray.store import Store

_MICROS = 1_000_000


@reporting
def removed(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    config: ConfigFile = None,
    store: Annotated[str | None, typer.Option(metavar="URL", help="The case store.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List what was removed from the case store, old and closed as it was, the latest first."""
    configured = load_config(config, {"store": {"url": store}} if store else None)
    with Store.open(configured.store.url, read_only=True) as opened:
        found = opened.removals(limit)
    console = output()
    for act in found:
        if json:
            write_out(orjson.dumps({"at_s": act.at_s, "who": act.who, "note": act.note}))
        else:
            say(console, f"{iso(int(act.at_s * _MICROS))} {act.note}")
