"""`astray cases removed`, `astray cases learnt`: what the audit has of what happened by itself."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from astray.cli.casefile import output, say
from astray.cli.common import AsJson, ConfigFile, StoreUrl, reporting
from astray.cli.screen import write_out
from astray.config import load_config
from astray.events.clock import iso
from astray.store import Act, Store

_MICROS = 1_000_000

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]


@reporting
def removed(
    limit: Limit = 50,
    config: ConfigFile = None,
    store: StoreUrl = None,
    *,
    json: AsJson = False,
) -> None:
    """List what was removed from the case store, old and closed as it was, the latest first."""
    acts = _acts(config, store, lambda opened: opened.removals(limit))
    if json:
        _show_json(acts, lambda act: {"who": act.who})
    else:
        _show(acts)


@reporting
def learnt(
    limit: Limit = 50,
    config: ConfigFile = None,
    store: StoreUrl = None,
    *,
    json: AsJson = False,
) -> None:
    """List the sessions that have left quarantine without a verdict, and why, the latest first."""
    acts = _acts(config, store, lambda opened: opened.learnt(limit))
    if json:
        _show_json(acts, lambda act: {"case": act.case_id or None, "id": act.about})
    else:
        _show(acts)


def _acts(
    config: Path | None, store: str | None, ask: Callable[[Store], Sequence[Act]]
) -> Sequence[Act]:
    configured = load_config(config, {"store": {"url": store}} if store else None)
    with Store.open(configured.store.url, read_only=True) as opened:
        return ask(opened)


def _show_json(acts: Sequence[Act], more: Callable[[Act], dict[str, Any]]) -> None:
    for act in acts:
        write_out(orjson.dumps({"at_s": act.at_s, **more(act), "note": act.note}))


def _show(acts: Sequence[Act]) -> None:
    console = output()
    for act in acts:
        case = f" ({act.case_id})" if act.case_id else ""
        say(console, f"{iso(int(act.at_s * _MICROS))} {act.note}{case}")
