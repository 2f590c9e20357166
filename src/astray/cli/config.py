"""`astray config`: check, show, schema."""

from pathlib import Path
from typing import Annotated

import orjson
import typer

from astray.cli.common import ConfigFile, reporting
from astray.cli.screen import Screen
from astray.config import Config, load_config
from astray.detectors.models import check_detectors

config_app = typer.Typer(no_args_is_help=True, help="Look at the configuration.")


@config_app.command()
@reporting
def check(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Your configuration.")] = None,
) -> None:
    """Name every mistake in a configuration, or nothing."""
    config = load_config(file)
    check_detectors(config)
    Screen("off").say(f"{file or 'the defaults'}: fine, config {config.config_hash}")


@config_app.command()
@reporting
def show(config: ConfigFile = None) -> None:
    """Print the configuration as astray sees it; secrets are named by their place only."""
    shown = load_config(config).model_dump(mode="json", exclude_none=True)
    typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))


@config_app.command()
@reporting
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    typer.echo(orjson.dumps(Config.model_json_schema(), option=orjson.OPT_INDENT_2))
