"""From a verdict in a line of JSON to what the core makes of it: names become ids, times windows.

Whoever writes such a line says whose session it is: `agent`, `session` and, where there are
any, `tenant`; `astray cases export-verdicts` does. `first_event` and `last_event` tell sessions
of one name apart. `takes_effect` is the stream's time from which on it holds, as a run that was
told of it has written down; without it the verdict holds from the time at which it was given.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from astray.baseline.judgement import Judgement
from astray.baseline.judgement import Said as Effect
from astray.decide.verdict import Said, Scope, Verdict, parse_verdict
from astray.events import clock
from astray.events.ids import ABSENT, pair_id, stable_id

TAKES_EFFECT: Final = "takes_effect"

_ANY_TIME_US: Final = 2**62
_MICROS: Final = 1_000_000
_MILLI_US: Final = 1000
_ID: Final = re.compile(r"ver_([0-9a-f]{16})")
_TIMES: Final = ("first_event", "last_event", TAKES_EFFECT)


def judgement_of(line: bytes, at_us: int | None = None) -> Judgement | str:
    """Return what a verdict says to the core, or what is wrong with it; never raises.

    `at_us` is when it takes effect where the line does not say so.
    """
    verdict = parse_verdict(line)
    if isinstance(verdict, str):
        return verdict
    record = orjson.loads(line)
    problem = _problem(record)
    if problem:
        return problem
    if verdict.undoes and not _ID.fullmatch(verdict.undoes):
        return "undoes is not the id of a verdict"
    return _judgement(verdict, record, at_us)


def case_alone(line: bytes) -> str:
    """Return the case of a verdict that names neither agent nor session, as a topic has it.

    Of all else there is nothing to return, and nothing that it lacks.
    """
    verdict = parse_verdict(line)
    if isinstance(verdict, str):
        return ""
    record = orjson.loads(line)
    return "" if any(record.get(key) is not None for key in ("agent", "session")) else verdict.case


def _problem(record: Mapping[str, Any]) -> str:
    """Return what keeps one from knowing which session a verdict is about, or nothing."""
    for key in ("agent", "session"):
        if not isinstance(record.get(key), str) or not record[key]:
            return f"{key} is not a text: it does not say whose session it is about"
    if not isinstance(record.get("tenant"), str | None):
        return "tenant is neither a text nor null"
    for key in _TIMES:
        at = record.get(key)
        if at is not None and (not isinstance(at, str) or clock.iso_us(at) is None):
            return f"{key} is not a time"
    return ""


def _judgement(verdict: Verdict, record: Mapping[str, Any], at_us: int | None) -> Judgement:
    first_us, last_us, told_us = (_time(record, key) for key in _TIMES)
    tenant = stable_id(record["tenant"]) if record.get("tenant") else ABSENT
    agent = pair_id(tenant, stable_id(record["agent"]))
    if told_us is None:
        told_us = verdict.ts_us if at_us is None else at_us
    return Judgement(
        at_us=told_us,
        given_us=verdict.ts_us,
        id=_number(verdict.id),
        said=_effect(verdict),
        agent=agent,
        session=pair_id(agent, stable_id(record["session"])),
        start_ms=_start_ms(record["agent"], record["session"]),
        first_us=first_us or 0,
        last_us=_ANY_TIME_US if last_us is None else last_us,
        until_us=0 if verdict.ttl_s is None else verdict.ts_us + verdict.ttl_s * _MICROS,
        undoes=_number(verdict.undoes) if verdict.undoes else 0,
    )


def _effect(verdict: Verdict) -> Effect:
    if verdict.said.excuses:
        return Effect.PEERS_EXCUSED if verdict.scope is Scope.GROUP else Effect.EXCUSED
    return Effect.UNDONE if verdict.said is Said.UNDO else Effect.CONFIRMED


def _number(verdict: str) -> int:
    return int(verdict.removeprefix("ver_"), 16)


def _time(record: Mapping[str, Any], key: str) -> int | None:
    return None if record.get(key) is None else clock.iso_us(record[key])


def _start_ms(agent: str, session: str) -> int:
    """Return when a session without a name began: its case is called after that; -1: it has one."""
    began_us = clock.iso_us(session.removeprefix(f"{agent}@"))
    is_unnamed = session.startswith(f"{agent}@") and began_us is not None
    return (began_us or 0) // _MILLI_US if is_unnamed else -1
