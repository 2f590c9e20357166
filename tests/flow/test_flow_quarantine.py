"""Who leaves quarantine without a verdict is in the audit: who, why and when, each once."""

import dataclasses
import shutil

import pytest

from astray.config import load_config
from astray.decide.decision import case_id
from astray.events import Event
from astray.flow.kernels import compile_kernels
from astray.flow.live import Live
from astray.store import Store
from running import lines
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_START_US = NOW_US - NOW_US % _DAY_US - 100 * _DAY_US
_ODD = 40


def _session(day, agent="bot", session="", **odd):
    event = Event(
        ts_us=_START_US + day * _DAY_US, agent=agent, action="read", group="peers",
        session=session or f"{agent}-{day}", resources=("ledger",), session_end=True,
    )  # fmt: skip
    return dataclasses.replace(event, **odd)


def _odd(session="odd"):
    odd = _session(_ODD, session=session, action="export", resources=("payroll",))
    return dataclasses.replace(odd, ts_us=odd.ts_us + 60_000_000)


PAST = [_session(day, agent) for day in range(_ODD) for agent in ("bot", "peer")]
LATER = [_session(day, "peer") for day in range(_ODD + 1, _ODD + 9)]


def _config(folder, alert_at=10.0):
    return load_config(
        overrides={
            "events": {"shards": 2},
            "default_policy": {"alert": {"score": alert_at}},
            "learning": {
                "suspicious_bits": 2.0, "quarantine_score": 20.0, "quarantine_days": 5.0
            },
            "store": {"url": f"sqlite:///{folder}/cases.db"},
        }
    )  # fmt: skip


def _run(folder, events, config, state="state"):
    """Read what is new of a file as it grows."""
    compile_kernels()
    (folder / "events.jsonl").write_bytes(lines(events))
    Live(config, [str(folder / "events.jsonl")], folder / state if state else None).run()


def _learnt(folder):
    with Store.open(f"sqlite:///{folder}/cases.db", read_only=True) as store:
        return store.learnt(10)


@pytest.mark.parametrize("state", ["state", None])
def test_a_session_that_leaves_quarantine_is_in_the_audit(tmp_path, state):
    """With its agent, its case, when it was in the stream's time, and why."""
    _run(tmp_path, [*PAST, _odd(), *LATER], _config(tmp_path), state)

    (note,) = _learnt(tmp_path)
    with Store.open(f"sqlite:///{tmp_path}/cases.db", read_only=True) as store:
        shown = store.case(case_id("", "bot", "odd"))

    assert (note.who, note.did, note.case_id) == ("astray", "learn", case_id("", "bot", "odd"))
    assert note.note == (
        "session odd of bot, begun 2026-09-23T00:01:00.000Z, has left quarantine at "
        "2026-09-29T00:00:00.000Z: it had been there long enough, so it is learnt with the weight of "
        "a suspicious one"
    )
    assert shown.acts == (note,)


def test_a_session_without_a_case_is_in_the_audit_too(tmp_path):
    """Nobody was alerted; without a name it is called after its agent and its beginning."""
    unnamed = dataclasses.replace(_odd(), session="")

    _run(tmp_path, [*PAST, unnamed, *LATER], _config(tmp_path, alert_at=99.0))

    (note,) = _learnt(tmp_path)
    assert note.case_id == ""
    assert note.note.startswith("session bot@2026-09-23T00:01:00.000Z of bot, begun 2026-09-23T")


def test_nobody_leaves_before_the_time_is_over(tmp_path):
    """Until then there is nothing to tell."""
    _run(tmp_path, [*PAST, _odd(), *LATER[:4]], _config(tmp_path))

    assert _learnt(tmp_path) == []


def test_it_is_told_once_also_after_a_crash(tmp_path):
    """A run that goes back to the state before it, or to the beginning, tells nothing again.

    The state knows the names of who is in quarantine.
    """
    config = _config(tmp_path)
    _run(tmp_path, [*PAST, _odd(), LATER[0]], config)
    shutil.copytree(tmp_path / "state", tmp_path / "before")
    _run(tmp_path, [*PAST, _odd(), *LATER], config)
    told = _learnt(tmp_path)

    for state in ("before", "new"):
        _run(tmp_path, [*PAST, _odd(), *LATER], config, state)

    assert len(told) == 1
    assert _learnt(tmp_path) == told


def test_the_order_of_agents_in_a_window_changes_nothing(tmp_path):
    """Neither what is told nor its ids, which tell whether it is known."""
    odd = [_odd(), dataclasses.replace(_odd("too"), agent="peer")]
    for name, order in (("one", odd), ("other", odd[::-1])):
        (tmp_path / name).mkdir()
        _run(tmp_path / name, [*PAST, *order, *LATER], _config(tmp_path / name))

    one, other = (
        [(act.about, act.note) for act in _learnt(tmp_path / name)] for name in ("one", "other")
    )

    assert len(one) == 2
    assert one == other
