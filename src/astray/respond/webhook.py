"""Standard Webhooks 1.0.0: signing and verifying, symmetric scheme `v1`.

The signature is HMAC-SHA256 over `id.timestamp.body`, so neither id nor timestamp may hold
a dot. See https://github.com/standard-webhooks/standard-webhooks, "Signature scheme".
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from astray.respond.secret import Secret

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_S: Final = 300
SIGNATURES_MAX: Final = 16
"""How many signatures of one webhook are looked at; more are refused."""

_ID: Final = re.compile(r"[!-\-/-~]{1,256}", re.ASCII)  # printable, without space and dot
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class Flaw(StrEnum):
    """Why a webhook is not taken for genuine."""

    HEADER_MISSING = "a header is missing"
    ID_MALFORMED = "the id is malformed"
    TIMESTAMP_MALFORMED = "the timestamp is malformed"
    TOO_OLD = "the timestamp is too old"
    TOO_NEW = "the timestamp is in the future"
    SIGNATURES_TOO_MANY = "there are too many signatures"
    SIGNATURE_WRONG = "no signature matches"


def sign(
    secrets: Sequence[Secret], webhook_id: str, timestamp_s: float, body: bytes
) -> dict[str, str]:
    """Return the headers of one attempt at `timestamp_s` (wall clock, seconds).

    Every attempt is signed anew: a receiver refuses a timestamp older than five minutes.
    Several secrets give several signatures, so that a receiver may know the old or the new.
    """
    timestamp = str(int(timestamp_s))
    signed = _signed(webhook_id, timestamp, body)
    return {
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: " ".join(_signature(secret, signed) for secret in secrets),
    }


def verify(
    secrets: Sequence[Secret], headers: Mapping[str, str], body: bytes, now_s: float
) -> Flaw | None:
    """Return why a webhook is not genuine, or None when it is; never raises.

    One signature by one of the secrets is enough. It must be recent, within `TOLERANCE_S`
    of `now_s`; that it is not a repeat is for the receiver to see by its id.
    """
    found = {name.lower(): value for name, value in headers.items()}
    if not {ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER} <= found.keys():
        return Flaw.HEADER_MISSING
    webhook_id, timestamp = found[ID_HEADER], found[TIMESTAMP_HEADER]
    if not _ID.fullmatch(webhook_id):
        return Flaw.ID_MALFORMED
    if not _TIMESTAMP.fullmatch(timestamp):
        return Flaw.TIMESTAMP_MALFORMED
    if int(timestamp) < now_s - TOLERANCE_S:
        return Flaw.TOO_OLD
    if int(timestamp) > now_s + TOLERANCE_S:
        return Flaw.TOO_NEW
    given = found[SIGNATURE_HEADER].split(" ")
    if len(given) > SIGNATURES_MAX:
        return Flaw.SIGNATURES_TOO_MANY
    signed = _signed(webhook_id, timestamp, body)
    expected = [_signature(secret, signed) for secret in secrets]
    return None if _any_equal(expected, given) else Flaw.SIGNATURE_WRONG


def _any_equal(expected: Sequence[str], given: Sequence[str]) -> bool:
    """Compare all with all, in a time that tells nothing about where they differ."""
    equal = False
    for theirs in given:
        text = theirs.encode(errors="backslashreplace")
        for ours in expected:
            equal |= hmac.compare_digest(ours.encode(), text)
    return equal


def _signed(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return b".".join((webhook_id.encode(), timestamp.encode(), body))


def _signature(secret: Secret, signed: bytes) -> str:
    return "v1," + b64encode(hmac.digest(secret.key, signed, "sha256")).decode()
