"""What a test of astray, or of one's own receiver, needs instead of patches.

`Receiver` is a real HTTP server that verifies what it gets, `ScriptedTransport` answers
without a network, `make_decision` and `make_secret` build what they are fed with.
"""

import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from astray.decide.decision import Decision, Evidence, Level, Mode, Withheld, case_id, decision_id
from astray.respond.receiver import Answer, Attempt, Received, Receiver
from astray.respond.secret import KEY_BYTES_MAX, Secret, secret_of
from astray.respond.transport import Response, TransportError
from astray.respond.webhook import ID_HEADER

__all__ = [
    "Answer",
    "Attempt",
    "Posted",
    "Received",
    "Receiver",
    "ScriptedTransport",
    "make_decision",
    "make_secret",
]


def make_secret(name: str = "a test secret") -> Secret:
    """Return a secret made from a name: the same for the same name."""
    key = name.encode().ljust(32, b".")[:KEY_BYTES_MAX]
    return secret_of(f"whsec_{b64encode(key).decode()}", name)


def make_decision(**changes: Any) -> Decision:
    """Return a decision that suspends, with changes; its ids follow from what it is about."""
    given: dict[str, Any] = {"session": "session-1", "level": Level.SUSPEND, **changes}
    decision = replace(_DECISION, **given)
    of = (decision.tenant, decision.agent, decision.session)
    ids = {"case": case_id(*of), "id": decision_id(*of, decision.policy, decision.level)}
    return replace(decision, **{**ids, **changes})


@dataclass(frozen=True, slots=True)
class Posted:
    """One call of a transport."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout_s: float

    @property
    def webhook_id(self) -> str:
        """The id it was posted under."""
        return self.headers[ID_HEADER]


Reply = Response | TransportError | int


class ScriptedTransport:
    """A transport that answers from a script and keeps what was posted.

    `replies` are given in order, 200 when they are used up; or a function of the post gives
    them. A `TransportError` among them is raised.
    """

    def __init__(self, replies: Iterable[Reply] | Callable[[Posted], Reply] = ()) -> None:
        self.posts: list[Posted] = []
        self._turn = threading.Lock()
        self._reply = replies if callable(replies) else _in_order(replies)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
        """Keep the post and give the next reply."""
        posted = Posted(url, body, dict(headers), timeout_s)
        with self._turn:
            self.posts.append(posted)
            reply = self._reply(posted)
        if isinstance(reply, TransportError):
            raise reply
        return reply if isinstance(reply, Response) else Response(reply)


def _in_order(replies: Iterable[Reply]) -> Callable[[Posted], Reply]:
    left = iter(tuple(replies))
    return lambda _: next(left, 200)


_DECISION: Final = Decision(
    id="",
    case="",
    level=Level.SUSPEND,
    withheld=Withheld.NOTHING,
    ts_us=1_795_312_800_123_456,
    tenant="",
    agent="billing-bot",
    session="",
    principal="jane@example.com",
    group="finance",
    kind="ai_agent",
    event_id="event-41",
    score=83.0,
    n=14_125.0,
    certified=True,
    limit=80.0,
    reason="score",
    policy="default",
    mode=Mode.ENFORCE,
    age_class=2,
    model="model-1",
    config="config-1",
    evidence=(
        Evidence(
            channel="resource",
            item="payroll.salaries",
            level="own",
            seen="41 new tables",
            usual="at most 2 in a session",
            bits=17.5,
            share=1.0,
            event_ids=("event-40", "event-41"),
            sentence="read 41 tables it never read before; usual are at most 2 in a session",
        ),
    ),
)
