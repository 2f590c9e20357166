"""`astray cases`: what was found, and what people say of it and do about it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from astray.alerts.ocsf import finding
from astray.cli.audit import learnt, removed
from astray.cli.casefile import show_case, show_cases
from astray.cli.common import AsJson, ConfigFile, StoreUrl, reporting
from astray.cli.screen import Screen, write_out
from astray.config import Config, load_config
from astray.decide.verdict import (
    CASE_ID,
    TEXT_BYTES_MAX,
    Said,
    Scope,
    Verdict,
    parse_verdict,
    ttl_of,
    ttl_text,
)
from astray.errors import ConfigError
from astray.flow.live import endpoint_of
from astray.respond import WebhookOutbox
from astray.store import Act, CaseFile, Outcome, Store, in_force

cases_app = typer.Typer(no_args_is_help=True, help="Look into cases, and act on them.")

cases_app.command()(removed)
cases_app.command()(learnt)

PROBLEMS_MAX = 20
"""Bad lines that are named; further ones are counted."""

_BATCH_MAX = 1000
_MICROS = 1_000_000

_REFUSED = {
    Outcome.NO_CASE: "there is no such case in the case store",
    Outcome.NO_SESSION: "a case of no session: there is none to judge",
    Outcome.IN_FORCE: "has a verdict already: take it back first, with `undo`",
    Outcome.NOT_IN_FORCE: "has no such verdict in force that could be taken back",
    Outcome.SUSPENDED: "its suspension has been asked for already",
    Outcome.NOT_SUSPENDED: "no suspension has been asked for that could be taken back",
    Outcome.RELEASED: "is released already",
}

CaseId = Annotated[str, typer.Argument(metavar="CASE", help="The id of a case, case_...")]
Who = Annotated[str, typer.Option(metavar="NAME", help="Who you are, for the audit.")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever reads it later.")]


@cases_app.command("list")
@reporting
def list_(
    agent: Annotated[str | None, typer.Option(help="Only this agent's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    config: ConfigFile = None,
    store: StoreUrl = None,
    *,
    json: AsJson = False,
) -> None:
    """List the cases that changed last."""
    with _reading(_configured(config, store)) as opened:
        found = opened.cases(limit, agent=agent)
    if json:
        for case in found:
            write_out(orjson.dumps(case))
    else:
        show_cases(found)


@cases_app.command()
@reporting
def show(
    case: CaseId, config: ConfigFile = None, store: StoreUrl = None, *, json: AsJson = False
) -> None:
    """Show all about a case: its evidence, its deliveries, what was said of it and done."""
    _check(case)
    with _reading(_configured(config, store)) as opened:
        found = _known(opened, case)
    if json:
        typer.echo(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
    else:
        show_case(found)


@cases_app.command()
@reporting
def approve(
    case: CaseId, who: Who, note: Note = "", config: ConfigFile = None, store: StoreUrl = None
) -> None:
    """Have the session of a case suspended that is not: its webhooks go out with the next look."""
    _act(Store.approve, Act(case, time.time(), who, "approve", note), _configured(config, store))
    Screen("off").say(f"{case}: approved; its suspension is on its way")


@cases_app.command()
@reporting
def release(
    case: CaseId, who: Who, note: Note = "", config: ConfigFile = None, store: StoreUrl = None
) -> None:
    """Take a suspension back: those who were asked for it are asked to let the session go on."""
    _act(Store.release, Act(case, time.time(), who, "release", note), _configured(config, store))
    Screen("off").say(f"{case}: released; those who were asked to suspend it are being told")


def _act(
    does: Callable[[Store, Act, WebhookOutbox], Outcome], act: Act, configured: Config
) -> None:
    """Have the store do what a person asks for."""
    _check(act.case_id, who=act.who, note=act.note)
    outbox = _outbox(configured)
    with _writing(configured) as opened:
        _done(act.case_id, does(opened, act, outbox))


@cases_app.command()
@reporting
def verdict(
    case: CaseId,
    said: Annotated[
        Said,
        typer.Argument(metavar="VERDICT", help=", ".join(Said)),
    ],
    who: Who,
    note: Note = "",
    scope: Annotated[
        Scope | None, typer.Option(help="Of what is excused: whose behaviour this is to be.")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="P30D", help="Of what is excused: for how long.")
    ] = None,
    config: ConfigFile = None,
    store: StoreUrl = None,
) -> None:
    """Say what a case was, or take back what was said; baselines follow while a run is on.

    A false positive, or a benign change: what was new in the session becomes part of the agent's
    baseline (or is excused for its whole group), stays so until --ttl is over or for good, and
    then fades as all does. A true positive: what was learnt from the session is taken back. A run
    hears of it within seconds and gives it effect at the next turn of a window of the stream's
    time.
    """
    ttl_s = _ttl_s(said, scope, ttl, _problems(case, who=who, note=note))
    if said.excuses:
        scope = scope or Scope.AGENT
    configured = _configured(config, store)
    with _writing(configured) as opened:
        undoes = ""
        if said is Said.UNDO:
            undoes = in_force(list(_known(opened, case).verdicts))
        ts_us = int(time.time() * _MICROS)
        given = Verdict(case, said, who, ts_us, note, scope, ttl_s, undoes)
        _done(case, opened.judge(given, time.time()))
    Screen("off").say(f"{case}: {said}, {given.id}; {_follows(given, configured)}")


def _follows(given: Verdict, config: Config) -> str:
    """Return what comes of a verdict, when, and for how long."""
    when = f"when the stream turns to its next {config.baseline.window_s:g} s"
    if given.said is Said.UNDO:
        return f"{when} what was known before is known again"
    if given.said is Said.TRUE_POSITIVE:
        return f"{when} what was learnt from the session is taken back, until this is undone"
    whose = "any of its group" if given.scope is Scope.GROUP else "the agent"
    until = "this is undone" if given.ttl_s is None else f"{ttl_text(given.ttl_s)} are over"
    return f"{when} nothing in the session is new to {whose} any more, until {until}"


def _ttl_s(said: Said, scope: Scope | None, ttl: str | None, problems: list[str]) -> int | None:
    """Return the seconds of a verdict's time span; raises with all that cannot be."""
    if not said.excuses and (scope, ttl) != (None, None):
        problems.append("--scope, --ttl: only for a false_positive or a benign_change")
    ttl_s = None if ttl is None else ttl_of(ttl)
    if ttl is not None and ttl_s is None:
        problems.append(f"--ttl: a time span like P30D, of ten years at most, not {ttl}")
    if problems:
        raise ConfigError(problems)
    return ttl_s


@cases_app.command()
@reporting
def export_verdicts(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A new file; without, standard output.")
    ] = None,
    after: Annotated[int, typer.Option(metavar="N", help="Only those after this number.")] = 0,
    config: ConfigFile = None,
    store: StoreUrl = None,
) -> None:
    """Write all verdicts in the order in which they were given, one a line."""
    with _reading(_configured(config, store)) as opened:
        if file is None:
            for line in _lines(opened, after):
                write_out(line)
            return
        try:
            with file.open("xb") as out:
                count = sum(bool(out.write(line + b"\n")) for line in _lines(opened, after))
        except OSError as error:
            raise ConfigError([f"{file}: cannot be written: {error.strerror}"]) from None
    Screen("off").say(f"{file}: {count:,} verdicts")


def _lines(store: Store, after: int) -> Iterator[bytes]:
    while found := store.verdicts_after(after, _BATCH_MAX):
        for number, body in found:
            yield orjson.dumps({"sequence": number, **orjson.loads(body)})
        after = found[-1][0]


@cases_app.command()
@reporting
def import_verdicts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One verdict a line.")],
    config: ConfigFile = None,
    store: StoreUrl = None,
) -> None:
    """Take verdicts that were given elsewhere; those that are known change nothing."""
    given = _parsed(file)
    fresh, problems = 0, []
    with _writing(_configured(config, store)) as opened:
        for number, one in given:
            outcome = opened.judge(one, time.time())
            fresh += outcome is Outcome.DONE
            if outcome in _REFUSED:
                problems.append(f"{file}:{number}: {one.case}: {_REFUSED[outcome]}")
    if problems:
        told = f"{file}: of {len(given):,} verdicts, {fresh:,} were new and have been taken"
        raise ConfigError([*_bounded(problems, file), told])
    Screen("off").say(f"{file}: {len(given):,} verdicts, {fresh:,} of them new")


def _parsed(file: Path) -> list[tuple[int, Verdict]]:
    given, problems = [], []
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                parsed = parse_verdict(line) if line.strip() else None
                if isinstance(parsed, Verdict):
                    given.append((number, parsed))
                elif parsed is not None:
                    problems.append(f"{file}:{number}: not a verdict: {parsed}")
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    if problems:
        raise ConfigError(_bounded(problems, file))
    return given


def _bounded(problems: list[str], file: Path) -> list[str]:
    more = len(problems) - PROBLEMS_MAX
    also = [f"{file}: and {more:,} more such lines"] if more > 0 else []
    return [*problems[:PROBLEMS_MAX], *also]


def _configured(config: Path | None, store: str | None) -> Config:
    return load_config(config, {"store": {"url": store}} if store else None)


@contextmanager
def _reading(config: Config) -> Iterator[Store]:
    with Store.open(config.store.url, read_only=True) as store:
        yield store


@contextmanager
def _writing(config: Config) -> Iterator[Store]:
    with Store.open(config.store.url, beside=True) as store:
        yield store


def _outbox(config: Config) -> WebhookOutbox:
    """Return what writes webhooks to all configured endpoints."""
    if not config.webhook:
        raise ConfigError(["no webhook is configured: name the --config that `astray run` has"])
    endpoints = [endpoint_of(webhook, config, os.environ) for webhook in config.webhook]
    return WebhookOutbox(endpoints, finding)


def _known(store: Store, case: str) -> CaseFile:
    found = store.case(case)
    if found is None:
        raise ConfigError([f"{case}: {_REFUSED[Outcome.NO_CASE]}"])
    return found


def _done(case: str, outcome: Outcome) -> None:
    if outcome in _REFUSED:
        raise ConfigError([f"{case}: {_REFUSED[outcome]}"])


def _check(case: str, **texts: str) -> None:
    problems = _problems(case, **texts)
    if problems:
        raise ConfigError(problems)


def _problems(case: str, **texts: str) -> list[str]:
    """Return what cannot be: texts of people are kept for good, and names are names."""
    problems = []
    if not CASE_ID.fullmatch(case):
        shown = case.encode(errors="backslashreplace").decode()
        problems.append(f"{shown}: not the id of a case, like case_6e68c33234525943")
    for name, text in texts.items():
        if len(text.encode(errors="replace")) > TEXT_BYTES_MAX:
            problems.append(f"--{name}: at most {TEXT_BYTES_MAX} bytes")
        if text.encode(errors="replace").decode() != text:
            problems.append(f"--{name}: not UTF-8")
    if not texts.get("who", "somebody").strip():
        problems.append("--who: a name")
    return problems
