"""`astray cases learnt`: what has left quarantine without a verdict, as the audit has it."""

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
def learnt(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    config: ConfigFile = None,
    store: Annotated[str | None, typer.Option(metavar="URL", help="The case store.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List the sessions that have left quarantine without a verdict, and why, the latest first."""
    configured = load_config(config, {"store": {"url": store}} if store else None)
    with Store.open(configured.store.url, read_only=True) as opened:
        found = opened.learnt(limit)
    console = output()
    for act in found:
        if json:
            told = {"at_s": act.at_s, "case": act.case_id or None, "id": act.about}
            write_out(orjson.dumps({**told, "note": act.note}))
        else:
            case = f" ({act.case_id})" if act.case_id else ""
            say(console, f"{iso(int(act.at_s * _MICROS))} {act.note}{case}")
