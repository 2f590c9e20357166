"""What is too long ago is not acted upon: which decisions that are, and what becomes of them."""

from dataclasses import replace

import orjson
import pytest

from astray.alerts.ocsf import finding
from astray.decide.decision import Level, Withheld, decision_id
from astray.decide.past import unless_past
from astray.testing import make_decision

WITHIN_US, NEWEST_US = 600_000_000, 1_700_000_000_000_000
AT_THE_EDGE = make_decision(ts_us=NEWEST_US - WITHIN_US)
BEYOND = make_decision(ts_us=NEWEST_US - WITHIN_US - 1)


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(AT_THE_EDGE, id="exactly as far behind as is acted upon"),
        pytest.param(replace(BEYOND, ts_us=NEWEST_US), id="the newest that was known"),
        pytest.param(replace(BEYOND, ts_us=NEWEST_US + 1), id="newer than what was known"),
    ],
)
def test_what_is_recent_is_acted_upon(decision):
    """Up to the configured distance a decision stays what it is."""
    assert unless_past(decision, NEWEST_US, WITHIN_US) is decision


def test_what_lies_beyond_is_withheld_and_nothing_else_of_it_changes():
    """A microsecond further the same decision opens its case, and suspends nobody."""
    judged = unless_past(BEYOND, NEWEST_US, WITHIN_US)

    assert (judged.level, judged.withheld, judged.suspends) == (
        Level.WITHHELD,
        Withheld.PAST,
        False,
    )
    kept = replace(judged, id=BEYOND.id, level=BEYOND.level, withheld=BEYOND.withheld)
    assert kept == BEYOND


def test_the_id_of_what_is_withheld_follows_from_what_it_is():
    """It is that of any withheld decision about the session: taken twice, recorded once."""
    judged = unless_past(BEYOND, NEWEST_US, WITHIN_US)

    of = (BEYOND.tenant, BEYOND.agent, BEYOND.session, BEYOND.policy)
    assert judged.id == decision_id(*of, Level.WITHHELD) != BEYOND.id
    assert unless_past(judged, NEWEST_US, WITHIN_US) is judged


def test_where_nothing_was_known_nothing_is_past():
    """A recording that is read for the first time is the present, however old it is."""
    decision = make_decision(ts_us=1)

    assert unless_past(decision, 0, WITHIN_US) is decision


@pytest.mark.parametrize(
    ("level", "withheld"),
    [(Level.ALERT, Withheld.NOTHING), (Level.WITHHELD, Withheld.OBSERVE)],
    ids=["alert", "withheld"],
)
def test_what_does_not_suspend_is_left_alone(level, withheld):
    """An alert about the past is an alert, and what was withheld keeps its reason."""
    decision = make_decision(ts_us=0, level=level, withheld=withheld)

    assert unless_past(decision, NEWEST_US, WITHIN_US) is decision


def test_an_alert_says_why_nobody_was_suspended():
    """Whoever reads it knows that the session was not stopped, and that it is no new one."""
    found = orjson.loads(finding(unless_past(BEYOND, NEWEST_US, WITHIN_US), update=False))

    assert found["finding_info"]["title"] == (
        "Session of billing-bot not suspended: it lies in a past that is being read again"
    )
    assert found["unmapped"]["withheld"] == "past"
