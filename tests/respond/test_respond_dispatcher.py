"""The dispatcher on a clock of its own: at least once, in order, bounded, never after expiry."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.decide.decision import Decision
from astray.respond import (
    Dispatcher,
    Endpoint,
    Response,
    RetryPolicy,
    TransportError,
    WebhookOutbox,
    verify,
)
from astray.respond.breaker import PROBE_MAX_S, PROBE_MIN_S
from astray.store import DeliveryState, Store, SuspensionState
from astray.testing import Posted, Reply, ScriptedTransport, make_decision, make_secret

SECRET = make_secret()
SIEM = Endpoint("siem", "https://siem.example.com/hook", (SECRET,), expires_after_s=3600.0)
GATEWAY = Endpoint("gateway", "https://gateway.example.com/", (SECRET,), expires_after_s=3600.0)


def no_alert(decision: Decision, *, update: bool) -> bytes:
    """Return an empty alert."""
    return b""


def tell(webhook_id: str, body: bytes, why: str) -> bytes:
    """Return an alert that says why a suspension was not delivered."""
    return f"not delivered: {why}".encode()


class Scene:
    """A store, a scripted transport, and the dispatcher between them."""

    def __init__(
        self,
        store: Store,
        replies: Iterable[Reply] | Callable[[Posted], Reply] = (),
        endpoints: tuple[Endpoint, ...] = (SIEM,),
    ) -> None:
        self.store = store
        self.endpoints = endpoints
        self.transport = ScriptedTransport(replies)
        self.dispatcher = self.another()

    def another(self) -> Dispatcher:
        """Return a dispatcher as after a restart: with the store, without memory."""
        policy = RetryPolicy(jitter=0.0)
        return Dispatcher(self.store, self.endpoints, self.transport, policy, report=tell)

    def suspend(self, session: str, now_s: float = 0.0) -> str:
        """Record the suspension of a session; return its case."""
        decision = make_decision(session=session)
        self.store.record([decision], WebhookOutbox(self.endpoints, no_alert), now_s)
        return decision.case

    def run(self, until_s: float, now_s: float = 0.0) -> list[float]:
        """Run as a host would; return the times at which something was posted."""
        times_s = []
        while now_s <= until_s:
            before = len(self.transport.posts)
            wait_s = self.dispatcher.run_once(now_s)
            times_s += [now_s] * (len(self.transport.posts) - before)
            if wait_s is None:
                break
            assert wait_s > 0
            now_s += wait_s
        return times_s

    def state(self, case_id: str) -> tuple[SuspensionState | None, list[DeliveryState]]:
        """Return where a suspension and its deliveries stand."""
        found = self.store.case(case_id)
        assert found is not None
        return found.case.suspension, [sent.state for sent in found.deliveries]

    def alerts(self) -> list[str]:
        """Return what was reported."""
        return [body.decode() for _, body in self.store.alerts_after(0, 9999) if body]


def test_a_suspension_is_delivered_signed_and_once(store: Store) -> None:
    """What the receiver gets is genuine; afterwards nothing waits."""
    scene = Scene(store)
    case_id = scene.suspend("session-1")

    wait_s = scene.dispatcher.run_once(100.0)
    scene.dispatcher.run_once(101.0)
    [post] = scene.transport.posts

    assert wait_s is None
    assert (post.url, post.timeout_s) == (SIEM.url, SIEM.timeout_s)
    assert verify([SECRET], post.headers, post.body, 100.0) is None
    assert scene.state(case_id) == ("delivered", ["delivered"])
    assert scene.alerts() == []


def test_what_has_waited_longest_goes_first(store: Store) -> None:
    """In the order of recording, apart from the few that are under way at a time."""
    scene = Scene(store)
    cases = [scene.suspend(f"session-{number:02}", float(number)) for number in range(40)]

    scene.dispatcher.run_once(50.0)
    order = [cases.index(_case_of(post)) for post in scene.transport.posts]

    assert sorted(order) == list(range(40))
    assert all(abs(place - number) <= 8 for place, number in enumerate(order))


def test_a_failed_attempt_is_repeated_by_the_schedule_under_the_same_id(store: Store) -> None:
    """Three failures within seconds open the breaker: from then on it is probed."""
    scene = Scene(store, [TransportError("refused"), 500, 503, 429])
    scene.suspend("session-1")

    times_s = scene.run(60.0)

    assert times_s == pytest.approx([0.0, 1.0, 6.0, 8.0, 10.0])
    assert len({post.webhook_id for post in scene.transport.posts}) == 1
    assert len({post.headers["webhook-signature"] for post in scene.transport.posts}) == 5


def test_one_bad_webhook_among_good_ones_follows_the_schedule(store: Store) -> None:
    """While others succeed the receiver is well, and the breaker stays closed."""
    bad = make_decision(session="bad").case.encode()
    scene = Scene(store, lambda post: 500 if bad in post.body else 200)
    scene.suspend("bad")

    tried_s = []
    for second in range(400):
        if second % 3 == 2:
            scene.suspend(f"good-{second}", float(second))
        before = len(scene.transport.posts)
        scene.dispatcher.run_once(float(second))
        tried_s += [second for post in scene.transport.posts[before:] if bad in post.body]

    assert tried_s == [0, 1, 6, 21, 81, 381]


def test_a_receiver_that_asks_for_time_gets_it(store: Store) -> None:
    """`Retry-After` replaces our delay, within its bounds."""
    scene = Scene(store, [Response(429, 30.0), Response(503, 9999.0)])
    scene.suspend("session-1")

    assert scene.run(300.0) == [0.0, 30.0, 90.0]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
def test_a_refusal_is_final_and_reported(store: Store, status: int) -> None:
    """It is not repeated, and somebody learns that the session goes on."""
    scene = Scene(store, [status])
    case_id = scene.suspend("session-1")

    assert scene.run(9999.0) == [0.0]
    assert scene.state(case_id) == ("failed", ["failed"])
    assert [text.split(str(status))[0] for text in scene.alerts()] == ["not delivered: answered "]


def test_gone_disables_the_endpoint_and_no_other(store: Store) -> None:
    """What is recorded later waits for the endpoint to be enabled, or expires."""
    scene = Scene(store, lambda post: 410 if "siem" in post.url else 200, (SIEM, GATEWAY))
    first = scene.suspend("session-1")
    scene.dispatcher.run_once(0.0)
    second = scene.suspend("session-2", 1.0)
    scene.dispatcher.run_once(1.0)

    assert store.counts(1.0).disabled == {"siem": "answered 410 Gone"}
    assert sorted(scene.state(first)[1]) == ["delivered", "failed"]
    assert sorted(scene.state(second)[1]) == ["delivered", "pending"]
    assert scene.alerts() == ["not delivered: answered 410 Gone"]
    assert sum(post.url == SIEM.url for post in scene.transport.posts) == 1


def test_what_has_expired_is_reported_and_never_sent(store: Store) -> None:
    """A session that was suspended an hour late would be the wrong one."""
    scene = Scene(store)
    case_id = scene.suspend("session-1")

    wait_s = scene.dispatcher.run_once(3600.0)

    assert wait_s is None
    assert scene.transport.posts == []
    assert scene.state(case_id) == ("expired", ["expired"])
    assert scene.alerts() == ["not delivered: expired before any attempt"]


def test_a_receiver_that_never_answers_is_given_up_at_expiry(store: Store) -> None:
    """Until then it is tried a bounded number of times; then it is reported, once."""
    scene = Scene(store, lambda _: TransportError("refused"))
    case_id = scene.suspend("session-1")

    times_s = scene.run(99_999.0)

    assert 300 < len(times_s) < 400
    assert times_s[-1] < 3600.0
    assert scene.state(case_id) == ("expired", ["expired"])
    assert scene.alerts() == [f"not delivered: expired after {len(times_s)} attempts"]


def test_deliveries_of_an_endpoint_that_was_removed_expire(store: Store) -> None:
    """A change of the configuration leaves nothing waiting for ever."""
    scene = Scene(store, endpoints=(GATEWAY,))
    case_id = scene.suspend("session-1")
    scene.endpoints = (SIEM,)
    scene.dispatcher = scene.another()

    assert scene.dispatcher.run_once(0.0) == 3600.0
    assert scene.dispatcher.run_once(3600.0) is None
    assert scene.state(case_id) == ("expired", ["expired"])


def test_after_an_outage_all_is_delivered_within_seconds(store: Store) -> None:
    """A hundred suspensions come up in the minute a receiver is away: each arrives once.

    During the outage a few attempts go out, not one for each that waits.
    """
    now_s = 0.0
    scene = Scene(store, lambda _: TransportError("refused") if now_s < 60 else 200)
    for tick in range(700):
        now_s = tick / 10
        if tick % 6 == 0 and now_s < 60:
            scene.suspend(f"session-{tick}", now_s)
        scene.dispatcher.run_once(now_s)
        if now_s >= 60 and not store.counts(now_s).outbox:
            break

    assert now_s <= 60 + 6.5
    assert store.counts(now_s).deliveries == {"delivered": 100}
    delivered = Counter(post.webhook_id for post in scene.transport.posts[-100:])
    assert set(delivered.values()) == {1}
    assert len({_case_of(post) for post in scene.transport.posts}) == 100
    assert len(scene.transport.posts) < 100 + 40
    assert scene.dispatcher.failing == []


def test_after_a_long_outage_nobody_waits_for_a_delay_of_their_own(store: Store) -> None:
    """By then single webhooks wait for minutes; the first success makes all of them due."""
    back_s = 1000.0
    now_s = 0.0
    scene = Scene(store, lambda _: 503 if now_s < back_s else 200)
    for number in range(5):
        scene.suspend(f"session-{number}")

    while store.counts(now_s).outbox:
        wait_s = scene.dispatcher.run_once(now_s)
        now_s += wait_s or 0.0

    assert back_s <= now_s <= back_s + PROBE_MAX_S


def test_while_an_endpoint_is_down_one_probe_at_a_time_goes_out(store: Store) -> None:
    """Each time another webhook, so that none can make the receiver look dead."""
    scene = Scene(store, lambda _: 500)
    for number in range(50):
        scene.suspend(f"session-{number}")

    at_once = scene.run(0.0)
    probes = scene.run(20.0, now_s=0.1)

    assert len(at_once) <= 8
    assert scene.dispatcher.failing == ["siem"]
    assert all(later - earlier >= PROBE_MIN_S - 1e-6 for earlier, later in pairwise(probes))
    assert len({post.webhook_id for post in scene.transport.posts}) == len(scene.transport.posts)


def test_a_crash_between_answer_and_mark_repeats_under_the_same_id(store: Store) -> None:
    """The receiver has it, the store does not know: it is sent again, and is a repeat."""
    scene = Scene(store, [TransportError("broken off after the receiver took it")])
    case_id = scene.suspend("session-1")

    scene.run(10.0)
    first, second = scene.transport.posts

    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert scene.state(case_id) == ("delivered", ["delivered"])


def test_a_killed_process_repeats_what_it_had_not_marked(store: Store) -> None:
    """A new dispatcher knows only what is on disk."""
    scene = Scene(store)
    case_id = scene.suspend("session-1")
    scene.dispatcher.start(0.0)
    scene.dispatcher._pool.shutdown(wait=True)  # posted and answered, never recorded
    scene.dispatcher.close()  # as the system closes what a process had
    unmarked = scene.state(case_id)

    scene.another().run_once(50.0)  # when no attempt can last any longer
    first, second = scene.transport.posts

    assert unmarked == ("requested", ["pending"])
    assert first.webhook_id == second.webhook_id
    assert scene.state(case_id) == ("delivered", ["delivered"])


def test_an_error_that_a_transport_does_not_name_is_an_attempt_without_an_answer(
    store: Store,
) -> None:
    """Another's transport may be wrong; the other deliveries must not suffer."""

    def breaks(post: Posted) -> Reply:
        if len(scene.transport.posts) == 1:
            raise ZeroDivisionError
        return 200

    scene = Scene(store, breaks)
    case_id = scene.suspend("session-1")

    assert scene.run(10.0) == [0.0, 1.0]
    assert scene.state(case_id) == ("delivered", ["delivered"])


def test_an_attempt_that_hangs_does_not_keep_the_expiry_from_being_reported(store: Store) -> None:
    """A receiver that feeds its answer byte by byte can hold a thread, not the alert."""
    release = threading.Event()

    def hang(_: Posted) -> Reply:
        release.wait(10.0)
        return 200

    scene = Scene(store, hang)
    case_id = scene.suspend("session-1")
    scene.dispatcher.start(3590.0)
    scene.dispatcher.start(3601.0)
    while_it_may_succeed = scene.state(case_id)
    scene.dispatcher.start(3631.0)
    release.set()
    scene.dispatcher.run_once(3632.0)

    assert while_it_may_succeed == ("requested", ["pending"])
    assert scene.state(case_id) == ("expired", ["expired"])
    assert len(scene.alerts()) == 1


def _case_of(post: Posted) -> str:
    start = post.body.index(b"case_")
    return post.body[start : start + 21].decode()


REPLIES = st.sampled_from(
    [
        *(200, 204, 301, 400, 408, 410, 425, 429, 500, 503),
        *(TransportError("refused"), TransportError("silent", took_s=10.0)),
        *(Response(503, 7.0), Response(429, 1e9), Response(200, took_s=2.5)),
    ]
)
BRIEF = Endpoint("brief", "https://brief.example.com/", (SECRET,), expires_after_s=300.0)
FINAL = {200, 204, 301, 400, 410}


@settings(max_examples=30)
@given(
    replies=st.lists(REPLIES, max_size=30),
    then=st.sampled_from([200, 500, 410]),
    sessions=st.integers(1, 6),
)
def test_attempts_are_bounded_and_what_is_final_is_never_repeated(
    replies: list[Reply], then: int, sessions: int
) -> None:
    """Whatever receivers answer, every delivery comes to an end in time and is told of once."""
    answered: dict[str, list[int]] = {}
    left = iter(replies)

    def reply(post: Posted) -> Reply:
        answer = next(left, then)
        status = answer.status if isinstance(answer, Response) else answer
        answered.setdefault(post.webhook_id, []).append(
            0 if isinstance(status, TransportError) else status
        )
        return answer

    with Store.open("sqlite://") as store:
        scene = Scene(store, reply, (BRIEF,))
        for number in range(sessions):
            scene.suspend(f"session-{number}")
        scene.run(999.0)
        counts, alerts = store.counts(999.0), scene.alerts()
        scene.dispatcher.close()

    assert counts.outbox == 0
    for statuses in answered.values():
        assert not FINAL & set(statuses[:-1])
        assert len(statuses) <= BRIEF.expires_after_s / PROBE_MIN_S + 10
    assert sum(counts.suspensions.values()) == sessions
    assert len(alerts) == sessions - counts.suspensions.get("delivered", 0)
