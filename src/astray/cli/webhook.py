"""`astray webhook`: try a receiver, and let one that said it was gone have another chance."""

import os
import time
import uuid
from collections.abc import Mapping
from typing import Annotated

import typer

from astray.cli.common import ConfigFile, reporting
from astray.cli.listen import listen
from astray.cli.run import SECRET_PLACE
from astray.cli.screen import Screen
from astray.config import load_config
from astray.errors import ConfigError
from astray.flow.live import endpoint_of
from astray.respond import (
    Endpoint,
    HttpTransport,
    Outcome,
    TransportError,
    outcome_of,
    ping_body,
    sign,
)
from astray.store import Store

webhook_app = typer.Typer(no_args_is_help=True, help="Try and manage receivers.")
webhook_app.command()(listen)
_FAILED = 1


@webhook_app.command()
@reporting
def ping(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="Without one, every configured webhook.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Send `astray.test.ping` to a receiver and say what it answered."""
    configured = load_config(config)
    webhooks = configured.webhook
    if url is not None:
        secret = webhooks[0].secret if webhooks else SECRET_PLACE
        webhooks = load_config(config, {"webhook": [{"url": url, "secret": secret}]}).webhook
    if not webhooks:
        raise ConfigError(["no webhook is configured: name a URL, or a --config that has one"])
    endpoints = [endpoint_of(webhook, configured, os.environ) for webhook in webhooks]
    accepted = [_ping(endpoint) for endpoint in endpoints]
    if not all(accepted):
        raise typer.Exit(_FAILED)


def _ping(endpoint: Endpoint) -> bool:
    now_s = time.time()
    body = ping_body(now_s)
    headers = sign(endpoint.secrets, f"msg_{uuid.uuid4().hex}", int(now_s), body)
    screen = Screen("off")
    try:
        with HttpTransport() as transport:
            response = transport.post(endpoint.url, body, headers, endpoint.timeout_s)
    except TransportError as error:
        screen.say(f"{endpoint.name}: no answer: {error}")
        return False
    accepted = outcome_of(response.status) is Outcome.DELIVERED
    verdict = "accepted" if accepted else "refused"
    took_ms = (time.time() - now_s) * 1000
    screen.say(f"{endpoint.name}: {verdict} with {response.status} after {took_ms:.0f} ms")
    return accepted


@webhook_app.command()
@reporting
def enable(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.")],
    config: ConfigFile = None,
    store: Annotated[str | None, typer.Option(metavar="URL", help="The case store.")] = None,
) -> None:
    """Send again to a receiver that had answered 410 Gone; `astray run` may be running."""
    configured = load_config(config, {"store": {"url": store}} if store else None)
    with Store.open(configured.store.url, beside=True) as opened:
        known = {**{webhook.name: "" for webhook in configured.webhook}, **opened.known_endpoints()}
        if name not in known:
            raise ConfigError([_unknown(name, known)])
        opened.enable_endpoint(name)
    Screen("off").say(f"{name}: enabled" if known[name] else f"{name}: was not off")


def _unknown(name: str, known: Mapping[str, str]) -> str:
    """Return that there is no such webhook, and which there are, with why one is off."""
    told = [f"{one} (off: {why})" if why else one for one, why in sorted(known.items())]
    return (
        f"{name}: no webhook of that name is configured, and the case store knows of none; "
        f"there are: {', '.join(told) or 'none'}"
    )
