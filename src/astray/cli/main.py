"""The commands of astray."""

import logging
from importlib.metadata import version
from typing import Annotated

import typer

from astray.cli.cases import cases_app
from astray.cli.compare import compare
from astray.cli.config import config_app
from astray.cli.demo import demo
from astray.cli.explain import explain
from astray.cli.replay import replay
from astray.cli.report import report
from astray.cli.run import run
from astray.cli.simulate import simulate
from astray.cli.state import state_app
from astray.cli.tune import tune
from astray.cli.webhook import webhook_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learns what each AI agent, service account and bot normally does, scores every event, "
    "and has the session suspended the moment one goes astray.",
)
app.command()(demo)
app.command()(run)
app.command()(replay)
app.command()(explain)
app.command()(simulate)
app.command()(tune)
app.command()(compare)
app.command()(report)
app.add_typer(cases_app, name="cases")
app.add_typer(config_app, name="config")
app.add_typer(state_app, name="state")
app.add_typer(webhook_app, name="webhook")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        typer.echo(f"astray {version('astray')}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # httpx logs whole URLs at INFO; a webhook's may hold a token.
    logging.getLogger("httpx").setLevel(logging.WARNING)
