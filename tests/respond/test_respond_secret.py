"""Secrets: where they come from, what is refused, and that nobody sees them."""

import base64
import logging
from dataclasses import asdict
from pathlib import Path

import pytest

from astray.errors import ConfigError
from astray.respond import (
    Dispatcher,
    Endpoint,
    HttpTransport,
    RetryPolicy,
    WebhookOutbox,
    secret_from,
)
from astray.respond.secret import KEY_BYTES_MAX, KEY_BYTES_MIN
from astray.store import Store
from astray.testing import Receiver, make_decision, make_secret

KEY = bytes(range(32))
TEXT = f"whsec_{base64.b64encode(KEY).decode()}"


def refusal(reference: str, environment: dict[str, str] | None = None) -> str:
    """Return the sentence with which a secret is refused."""
    with pytest.raises(ConfigError) as caught:
        secret_from(reference, environment or {})
    [problem] = caught.value.problems
    return problem


@pytest.mark.parametrize("text", [TEXT, f"  {TEXT}\n", TEXT.rstrip("=")])
def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path, text: str) -> None:
    """White space around it and missing padding do no harm."""
    path = tmp_path / "secret"
    path.write_text(text)

    from_variable = secret_from("env:ASTRAY_SECRET", {"ASTRAY_SECRET": text})
    from_file = secret_from(f"file:{path}", {})

    assert from_variable.key == from_file.key == KEY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not begin with whsec_"),
        (TEXT.removeprefix("whsec_"), "does not begin with whsec_"),
        ("whsec_?" + TEXT[7:], "is not base64 after whsec_"),
        ("whsec_a", "is not base64 after whsec_"),
        ("whsec_\u00e9\u00e9\u00e9\u00e9", "is not base64 after whsec_"),
        ("whsec_", "holds 0 bytes; a secret has 24 to 64"),
        (f"whsec_{base64.b64encode(bytes(KEY_BYTES_MIN - 1)).decode()}", "holds 23 bytes; "),
        (f"whsec_{base64.b64encode(bytes(KEY_BYTES_MAX + 1)).decode()}", "holds 65 bytes; "),
    ],
)
def test_a_text_that_is_no_secret_is_refused_without_being_shown(text: str, said: str) -> None:
    """The sentence names the variable and what is wrong, never the value."""
    problem = refusal("env:ASTRAY_SECRET", {"ASTRAY_SECRET": text})

    assert problem.startswith(f"the secret env:ASTRAY_SECRET {said}")
    assert len(text) < 8 or text[6:] not in problem


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A variable that is not set, a file that is missing or cannot be read."""
    assert (
        refusal("env:ASTRAY_SECRET") == "the secret env:ASTRAY_SECRET is not set in the environment"
    )
    assert refusal(f"file:{tmp_path}/none") == (
        f"the secret file:{tmp_path}/none cannot be read: No such file or directory"
    )
    assert refusal(f"file:{tmp_path}").endswith("cannot be read: Is a directory")


@pytest.mark.parametrize(
    "reference", [TEXT, f"env:{TEXT}", f"value:{TEXT}", f"file:{TEXT}", TEXT[6:]]
)
def test_a_secret_in_the_place_of_its_reference_is_not_repeated(reference: str) -> None:
    """It is a likely mistake, and errors end in logs."""
    assert refusal(reference) == ("a secret is given as env:NAME or file:/path, never as its value")


@pytest.mark.parametrize("reference", ["", "env:", "file:", "env"])
def test_a_reference_to_nothing_is_refused(reference: str) -> None:
    """The sentence says how a secret is given."""
    assert "env:NAME or file:/path" in refusal(reference)


def test_a_name_that_no_variable_has_is_refused() -> None:
    """It might be the value: it is not repeated either."""
    assert "c2VjcmV0" not in refusal("env:c2VjcmV0+c2VjcmV0==")


def test_a_secret_is_never_printed() -> None:
    """Neither alone nor in an endpoint, a tuple, an f-string or a dictionary of its owner."""
    secret = secret_from("env:ASTRAY_SECRET", {"ASTRAY_SECRET": TEXT})
    endpoint = Endpoint("siem", "https://siem.example.com/hook/token-4711", (secret,))

    shown = f"{secret} {secret!r} {endpoint} {endpoint!r} {asdict(endpoint)}"

    assert "Secret(env:ASTRAY_SECRET)" in shown
    assert TEXT[6:20] not in shown
    assert str(KEY) not in shown
    assert "token-4711" not in repr(endpoint)


def test_a_secret_reaches_neither_store_nor_log_nor_alert(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused and unreachable receivers are where details are logged."""
    caplog.set_level(logging.DEBUG)
    secret = make_secret("what nobody may see")
    texts = [base64.b64encode(secret.key).decode(), secret.key.decode(), secret.key.hex()]

    database = tmp_path / "cases.db"
    with (
        Store.open(f"sqlite:///{database}") as store,
        Receiver([make_secret("another")]) as receiver,
        HttpTransport() as transport,
    ):
        endpoints = [
            Endpoint("refuses", receiver.url, (secret,)),
            Endpoint("is-away", "http://127.0.0.1:9/", (secret,)),
        ]
        store.record([make_decision()], WebhookOutbox(endpoints, _no_alert), 0.0)
        dispatcher = Dispatcher(store, endpoints, transport, RetryPolicy(), report=_tell)
        dispatcher.run_once(0.0)
        dispatcher.close()
        alerts = store.alerts_after(0, 10)

    assert [alert for _, alert in alerts][1:] == [b"answered 401 Unauthorized"]
    held = database.read_bytes() + caplog.text.encode() + b"".join(body for _, body in alerts)
    assert b"refuses" in held
    assert not [text for text in texts if text.encode() in held]


def _no_alert(decision: object, *, update: bool) -> bytes:
    return b""


def _tell(webhook_id: str, body: bytes, why: str) -> bytes:
    return why.encode()
