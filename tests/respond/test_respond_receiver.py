"""The receiver that tests and demonstrations use: it has to be right itself."""

import http.client
import time

import pytest

from astray.errors import ReceiverError
from astray.respond import Flaw, HttpTransport, Secret, TransportError, sign
from astray.testing import Answer, Attempt, Receiver, make_secret

SECRET = make_secret()


def post(receiver: Receiver, webhook_id: str = "msg_1", secret: Secret = SECRET) -> int:
    """Send a genuine webhook; return the status."""
    with HttpTransport() as transport:
        headers = sign([secret], webhook_id, time.time(), b"{}")
        return transport.post(receiver.url, b"{}", headers, 5.0).status


def test_a_repeat_is_counted_and_not_kept_again() -> None:
    """A receiver tells a repeat by its id."""
    with Receiver([SECRET]) as receiver:
        statuses = [post(receiver), post(receiver), post(receiver, "msg_2")]

    assert statuses == [200, 200, 200]
    assert {name: kept.repeats for name, kept in receiver.deliveries.items()} == {
        "msg_1": 1,
        "msg_2": 0,
    }


def test_what_is_not_genuine_is_refused_and_not_kept() -> None:
    """Signed by somebody else, it is answered 401."""
    with Receiver([SECRET]) as receiver:
        status = post(receiver, secret=make_secret("somebody else"))

    assert status == 401
    assert receiver.deliveries == {}
    assert receiver.attempts == [Attempt("msg_1", Flaw.SIGNATURE_WRONG, 401)]


def test_answers_are_scripted_by_a_list_or_a_function() -> None:
    """A list is used up; a function sees id and body. Only what is accepted is kept."""
    with Receiver([SECRET], [503, Answer(429)]) as receiver:
        by_list = [post(receiver) for _ in range(3)]
    with Receiver([SECRET], lambda webhook_id, _: 400 if webhook_id == "msg_1" else 202) as chooser:
        by_function = [post(chooser, name) for name in ("msg_1", "msg_2")]

    assert by_list == [503, 429, 200]
    assert receiver.deliveries["msg_1"].repeats == 0
    assert by_function == [400, 202]
    assert list(chooser.deliveries) == ["msg_2"]


def test_a_receiver_goes_and_comes_back_on_the_same_port() -> None:
    """Down, it also breaks the connections there are."""
    with Receiver([SECRET]) as receiver, HttpTransport() as transport:
        headers = sign([SECRET], "msg_1", time.time(), b"{}")
        before = transport.post(receiver.url, b"{}", headers, 5.0).status
        url = receiver.url
        receiver.down()
        with pytest.raises(TransportError):
            transport.post(url, b"{}", headers, 5.0)
        receiver.up()
        after = transport.post(url, b"{}", headers, 5.0).status

    assert (before, after) == (200, 200)
    assert receiver.deliveries["msg_1"].repeats == 1


def test_a_port_that_is_taken_is_named() -> None:
    """The error says which host and port, for a person to look who has it."""
    with (
        Receiver([SECRET]) as first,
        pytest.raises(ReceiverError, match=rf"127\.0\.0\.1:{first.port}: Address already in use"),
        Receiver([SECRET], port=first.port),
    ):
        pass


def test_a_request_that_is_too_long_is_refused_unread() -> None:
    """Nobody can fill its memory."""
    with Receiver([SECRET]) as receiver:
        connection = http.client.HTTPConnection(receiver.host, receiver.port, timeout=5)
        connection.putrequest("POST", "/")
        connection.putheader("content-length", "9" * 100)
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()

    assert status == 413


def test_waiting_ends_when_enough_has_come_or_the_time_is_up() -> None:
    """The result says which."""
    with Receiver([SECRET]) as receiver:
        post(receiver)

        assert receiver.wait_for(1, 0.0)
        assert not receiver.wait_for(2, 0.01)
