"""A session that has left quarantine: whose it was and why, in a sentence."""

import numpy as np
import pytest

from astray.baseline.buffers import RECORD
from astray.baseline.rehearsal import AGREED_ROW, EXPIRED_ROW, RESTORED_ROW, STRUCK_ROW
from astray.config import load_config
from astray.decide.decider import Decider
from astray.decide.leaving import Left, Why, left_of
from astray.events import Event, encode_event
from made import DAY_US, START_US, records_of

_EVENT = Event(START_US, "bot", "export", session="s1", tenant="acme")


def _row(kind):
    row = np.zeros(1, RECORD)[0]
    row["row"], row["session"], row["start_us"] = kind, 0xABC, START_US
    row["ts_us"] = START_US + 30 * DAY_US
    return row


def test_what_is_told_names_the_session():
    """Its agent, when it began, when it was let out, and why."""
    agreed = left_of(_row(AGREED_ROW), encode_event(_EVENT))
    expired = left_of(_row(EXPIRED_ROW), encode_event(_EVENT))

    assert agreed == Left("acme", "bot", "s1", START_US, START_US + 30 * DAY_US, Why.AGREED)
    assert agreed.sentence == (
        "session s1 of bot of tenant acme, begun 2026-11-22T02:00:00.000Z, has left quarantine at "
        "2026-12-22T02:00:00.000Z: its agent's peers have come to show all that was new in it, so it "
        "is learnt like any other"
    )
    assert expired.why is Why.EXPIRED
    assert expired.case == agreed.case
    assert expired.id != agreed.id


def test_what_an_older_astray_has_kept_has_no_name():
    """It is told with what is known of it."""
    left = left_of(_row(EXPIRED_ROW), b"")

    assert left.sentence.startswith(
        "session 0000000000000abc has left quarantine at 2026-12-22T02:00:00.000Z: it had been there"
    )


@pytest.mark.parametrize("kind", [STRUCK_ROW, RESTORED_ROW, AGREED_ROW, EXPIRED_ROW])
def test_a_decider_hands_on_who_has_left(kind):
    """What is told of other sessions is not taken for it, and none of them is ranked."""
    decider = Decider(load_config(overrides={"events": {"shards": 1}}))
    records = records_of(0, START_US, (_EVENT, _row(kind)))
    records = type(records)(0, START_US, records.rows, (encode_event(_EVENT),), ((),))

    ruling = decider.decide([records])

    assert [left.session for left in ruling.left] == ["s1"] * (kind <= AGREED_ROW)
    assert sum(map(len, ruling.scored)) == 0
