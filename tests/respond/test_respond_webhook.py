"""Signing and verifying, with the reference library of Standard Webhooks as the oracle."""

import base64
import time
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from astray.respond import Flaw, Secret, sign, verify
from astray.respond.webhook import SIGNATURES_MAX, TOLERANCE_S
from astray.testing import make_secret

OLD: Final = make_secret("the old secret")
NEW: Final = make_secret("the new secret")
NOW_S: Final = 1_795_312_800.75
BODY: Final = '{"type": "astray.test.ping", "text": "naïve \U0001f512"}'.encode()


def reference(secret: Secret) -> Webhook:
    """Return the reference library with our secret."""
    return Webhook(f"whsec_{base64.b64encode(secret.key).decode()}")


def signed(**changes: str) -> dict[str, str]:
    """Return genuine headers with changes."""
    return {**sign([NEW], "msg_1", NOW_S, BODY), **changes}


@given(body=st.text().map(str.encode), number=st.integers(0, 2**64))
def test_the_reference_library_accepts_what_we_sign(body: bytes, number: int) -> None:
    """Whatever the body and the id, the other side of the standard agrees."""
    headers = sign([NEW], f"msg_{number:x}", time.time(), body)

    reference(NEW).verify(body, headers, json_parse=False)


@given(body=st.text(), number=st.integers(0, 2**64))
def test_we_accept_what_the_reference_library_signs(body: str, number: int) -> None:
    """The signature is the same, so anyone's genuine webhook is genuine here."""
    webhook_id, at = f"msg_{number:x}", datetime.fromtimestamp(int(NOW_S), UTC)
    signature = reference(NEW).sign(webhook_id, at, body)
    headers = signed(**{"webhook-id": webhook_id, "webhook-signature": signature})

    assert verify([NEW], headers, body.encode(), NOW_S) is None
    assert sign([NEW], webhook_id, NOW_S, body.encode())["webhook-signature"] == signature


def test_the_reference_library_refuses_another_secret() -> None:
    """The oracle does bite."""
    with pytest.raises(WebhookVerificationError):
        reference(OLD).verify(BODY, sign([NEW], "msg_1", time.time(), BODY))


@pytest.mark.parametrize("known", [[OLD], [NEW], [OLD, NEW]])
def test_while_a_secret_is_replaced_both_are_good(known: list[Secret]) -> None:
    """Two signatures are sent, and a receiver that knows one of them is content."""
    headers = sign([OLD, NEW], "msg_1", NOW_S, BODY)

    assert len(headers["webhook-signature"].split(" ")) == 2
    assert verify(known, headers, BODY, NOW_S) is None


def test_every_attempt_has_its_own_signature() -> None:
    """The id stays; time and signature are those of the attempt."""
    first, second = (sign([NEW], "msg_1", NOW_S + late_s, BODY) for late_s in (0, 600))

    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-signature"] != second["webhook-signature"]
    assert verify([NEW], first, BODY, NOW_S + 600) is Flaw.TOO_OLD
    assert verify([NEW], second, BODY, NOW_S + 600) is None


def test_the_names_of_headers_are_in_any_case() -> None:
    """HTTP says so."""
    headers = {name.title(): value for name, value in signed().items()}

    assert verify([NEW], headers, BODY, NOW_S) is None


@pytest.mark.parametrize(
    ("headers", "flaw"),
    [
        ({}, Flaw.HEADER_MISSING),
        (signed(**{"webhook-id": ""}), Flaw.ID_MALFORMED),
        (signed(**{"webhook-id": "msg.1"}), Flaw.ID_MALFORMED),
        (signed(**{"webhook-id": "msg 1"}), Flaw.ID_MALFORMED),
        (signed(**{"webhook-id": "m" * 257}), Flaw.ID_MALFORMED),
        (signed(**{"webhook-timestamp": "1795312800.5"}), Flaw.TIMESTAMP_MALFORMED),
        (signed(**{"webhook-timestamp": "-1"}), Flaw.TIMESTAMP_MALFORMED),
        (signed(**{"webhook-timestamp": "\u0661\u0662"}), Flaw.TIMESTAMP_MALFORMED),
        (signed(**{"webhook-timestamp": "9" * 5000}), Flaw.TIMESTAMP_MALFORMED),
        (signed(**{"webhook-timestamp": "0"}), Flaw.TOO_OLD),
        (signed(**{"webhook-timestamp": "999999999999"}), Flaw.TOO_NEW),
        (signed(**{"webhook-id": "msg_2"}), Flaw.SIGNATURE_WRONG),
        (signed(**{"webhook-timestamp": "1795312801"}), Flaw.SIGNATURE_WRONG),
        (signed(**{"webhook-signature": ""}), Flaw.SIGNATURE_WRONG),
        (signed(**{"webhook-signature": "v1"}), Flaw.SIGNATURE_WRONG),
        (signed(**{"webhook-signature": "v1,\udcff"}), Flaw.SIGNATURE_WRONG),
        (
            signed(**{"webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")}),
            Flaw.SIGNATURE_WRONG,
        ),
        (signed(**{"webhook-signature": "v1,x " * SIGNATURES_MAX}), Flaw.SIGNATURES_TOO_MANY),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said(headers: dict[str, str], flaw: Flaw) -> None:
    """One reason each, so that the receiver's owner knows where to look."""
    assert verify([NEW], headers, BODY, NOW_S) is flaw


@pytest.mark.parametrize("late_s", [-TOLERANCE_S, TOLERANCE_S - 1])
def test_clocks_may_differ_by_five_minutes(late_s: int) -> None:
    """In both directions."""
    assert verify([NEW], signed(), BODY, NOW_S + late_s) is None


def test_without_a_secret_nothing_is_genuine() -> None:
    """An empty list of secrets must not let everything in."""
    assert verify([], signed(), BODY, NOW_S) is Flaw.SIGNATURE_WRONG


@given(place=st.integers(0, 8 * len(BODY) - 1))
def test_a_changed_bit_is_noticed(place: int) -> None:
    """The body is signed byte for byte."""
    changed = bytearray(BODY)
    changed[place // 8] ^= 1 << place % 8

    assert verify([NEW], signed(), bytes(changed), NOW_S) is Flaw.SIGNATURE_WRONG


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
NEARLY = st.sampled_from([*signed().values(), "", "v1,", "0", "1795312800"])
NAMES = st.sampled_from([*signed(), "Webhook-Id", "WEBHOOK-SIGNATURE", "host"])


@given(
    headers=st.dictionaries(NAMES | ANY_TEXT, NEARLY | ANY_TEXT, max_size=6),
    damaged=st.sampled_from(list(signed())),
    value=ANY_TEXT,
    body=st.binary(max_size=60),
    now_s=st.floats(0, 1e12),
)
def test_verifying_never_raises(
    headers: dict[str, str], damaged: str, value: str, body: bytes, now_s: float
) -> None:
    """Any headers and any body are judged, also genuine ones with one header damaged."""
    assert isinstance(verify([NEW], headers, body, now_s), Flaw | None)
    assert isinstance(verify([NEW], signed(**{damaged: value}), BODY, NOW_S), Flaw | None)
