"""The retry policy and the breaker: pure, so with exact numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.errors import ConfigError
from astray.respond import Outcome, RetryPolicy, outcome_of
from astray.respond.breaker import FAILURES_MAX, PROBE_ASKED_MAX_S, PROBE_MAX_S, Breaker
from astray.respond.retry import ASKED_DELAY_MAX_S, retry_after_s

DATE = "Sun, 22 Nov 2026 02:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (None, "retry"),
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (101, "refused"),
        (301, "refused"),
        (307, "refused"),
        (400, "refused"),
        (401, "refused"),
        (404, "refused"),
        (408, "retry"),
        (409, "refused"),
        (410, "gone"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (599, "retry"),
    ],
)
def test_what_an_answer_means(status: int | None, outcome: str) -> None:
    """Success is 2xx alone; what may pass is tried again; the rest is final."""
    assert outcome_of(status) == outcome


def test_delays_grow_and_the_last_one_is_repeated() -> None:
    """From a second to a quarter of an hour."""
    delays_s = [RetryPolicy().next_delay_s(attempts, 0.5) for attempts in range(1, 9)]

    assert delays_s == [1, 5, 15, 60, 300, 900, 900, 900]


def test_the_spread_places_a_delay_within_the_jitter() -> None:
    """Twenty per cent to either side."""
    ends_s = [RetryPolicy().next_delay_s(4, spread) for spread in (0.0, 1.0)]

    assert ends_s == pytest.approx([48.0, 72.0])


@pytest.mark.parametrize(
    ("attempts", "asked_s", "delay_s"),
    [
        (1, 0.0, 1.0),  # never sooner than we would
        (1, 30.0, 30.0),
        (1, 86_400.0, ASKED_DELAY_MAX_S),
        (4, 100.0, 100.0),
        (4, 86_400.0, 120.0),
        (6, 86_400.0, 1800.0),
    ],
)
def test_a_receiver_may_ask_for_time_within_bounds(
    attempts: int, asked_s: float, delay_s: float
) -> None:
    """Up to a minute, or up to twice our own delay where that is longer."""
    assert RetryPolicy().next_delay_s(attempts, 0.5, asked_s) == delay_s


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("120", "", 120.0),
        ("0", "", 0.0),
        ("9" * 5000, "", 999_999_999.0),
        ("Sun, 22 Nov 2026 02:00:30 GMT", DATE, 30.0),
        ("Sun, 22 Nov 2026 01:59:00 GMT", DATE, 0.0),
        ("Sun, 22 Nov 2026 02:00:30 GMT", "", None),
        ("Sun, 22 Nov 2026 02:00:30 -0000", DATE, 30.0),
        ("", DATE, None),
        ("-5", DATE, None),
        ("1.5", DATE, None),
        ("soon", DATE, None),
        (f"Sun, 22 Nov {'9' * 30} 02:00:00 GMT", DATE, None),
        (f"Sun, 22 Nov 2026 02:00:00 +{'9' * 30}", DATE, None),
        ("\u0661", DATE, None),
    ],
)
def test_the_time_asked_for_is_read_from_seconds_or_a_date(
    value: str, date: str, seconds: float | None
) -> None:
    """A date counts from the receiver's own clock; what is neither asks for nothing."""
    assert retry_after_s(value, date) == seconds


DAMAGED = st.builds(
    lambda place, text: DATE[:place] + text + DATE[place + 1 :],
    st.integers(0, len(DATE)),
    st.text("0123456789 :+-(\u00e9") | st.just("9" * 30),
)


@given(value=st.text() | DAMAGED, date=st.text() | st.just(DATE))
def test_any_header_is_read_or_ignored(value: str, date: str) -> None:
    """A receiver's header cannot break a delivery."""
    asked_s = retry_after_s(value, date)

    assert asked_s is None or asked_s >= 0


@given(
    delays_s=st.lists(st.floats(0.01, 1e5), min_size=1, max_size=8).map(tuple),
    jitter=st.floats(0, 0.99),
    attempts=st.integers(1, 10**6),
    spread=st.floats(0, 1),
    asked_s=st.none() | st.floats(0, 1e12),
)
def test_every_delay_is_positive_and_bounded(
    delays_s: tuple[float, ...],
    jitter: float,
    attempts: int,
    spread: float,
    asked_s: float | None,
) -> None:
    """Attempts of one webhook can neither run hot nor stop."""
    delay_s = RetryPolicy(delays_s, jitter).next_delay_s(attempts, spread, asked_s)

    assert 0 < delay_s <= max(ASKED_DELAY_MAX_S, 4 * max(delays_s))


@pytest.mark.parametrize(
    ("delays_s", "jitter", "problems"),
    [((), 0.2, 1), ((0.0,), 0.2, 1), ((float("nan"),), 1.0, 2), ((1.0,), -0.1, 1)],
)
def test_a_schedule_that_would_run_hot_is_refused(
    delays_s: tuple[float, ...], jitter: float, problems: int
) -> None:
    """Every problem of it is named."""
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(delays_s, jitter)

    assert len(caught.value.problems) == problems


def test_retry_and_refusal_exclude_each_other() -> None:
    """Every status has one outcome, and only 410 takes the endpoint away."""
    outcomes = {status: outcome_of(status) for status in range(100, 1000)}

    assert [status for status in outcomes if outcomes[status] is Outcome.GONE] == [410]


def test_five_failures_in_a_row_open_the_breaker() -> None:
    """And the first success closes it, which the caller is told."""
    breaker = Breaker()
    for _ in range(FAILURES_MAX - 1):
        breaker.failed(100.0, None)
    before = breaker.is_open
    breaker.failed(100.0, None)

    assert (before, breaker.is_open, breaker.probe_at_s) == (False, True, 102.0)
    assert breaker.succeeded()
    assert not breaker.is_open
    assert not breaker.succeeded()


def test_a_success_in_between_starts_the_row_anew() -> None:
    """One webhook that a receiver cannot digest does not make the receiver dead."""
    breaker = Breaker()
    for at_s in range(50):
        breaker.failed(float(at_s), None)
        breaker.succeeded()

    assert not breaker.is_open


def test_few_failures_over_seconds_open_the_breaker_too() -> None:
    """A single suspension would reach five failures only after a minute and more."""
    breaker = Breaker()
    for at_s in (0.0, 1.0, 6.0):
        breaker.failed(at_s, None)

    assert breaker.is_open


@pytest.mark.parametrize(
    ("lasted_s", "asked_s", "wait_s"),
    [
        (6.0, None, 2.0),
        (60.0, None, 6.0),
        (86_400.0, None, PROBE_MAX_S),
        (6.0, 1.0, 2.0),
        (6.0, 30.0, 30.0),
        (6.0, 86_400.0, PROBE_ASKED_MAX_S),
    ],
)
def test_probes_are_seconds_apart(lasted_s: float, asked_s: float | None, wait_s: float) -> None:
    """The longer an outage lasts the rarer, within bounds; a receiver may ask for a minute."""
    breaker = Breaker()
    breaker.failed(100.0, None)
    breaker.failed(100.0 + lasted_s, asked_s)

    assert breaker.probe_at_s == pytest.approx(100.0 + lasted_s + wait_s)
