"""Attacks put into a recording that exists already."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from astray.errors import ConfigError
from astray.lab.simulate.attacks import attack
from astray.lab.simulate.native import (
    Reader,
    SessionKey,
    read_labels,
    read_lines,
    running_times_ms,
)
from astray.lab.simulate.options import attack_problems
from astray.lab.simulate.recording import (
    Columns,
    Ints,
    Recording,
    Session,
    created,
    event_lines,
    first_rows,
    in_time_order,
    json_line,
    label,
)
from astray.lab.simulate.scene import Scene

Labels = Mapping[SessionKey, dict[str, Any]]


def inject(
    events_path: Path | str,
    labels_path: Path | str | None,
    attacks: Mapping[str, int],
    seed: int,
    *,
    out_events: Path | str,
    out_labels: Path | str,
) -> Recording:
    """Write a copy of a native recording with attacks in it, and the labels; return what was added.

    Every line is copied byte for byte and in its order, also one that is no event. Victims and
    the sessions to enter are chosen from the last two thirds of the time span, among sessions
    that the labels, if given, call normal and `test`. Sessions without a label get label 0.
    Sessions without a name are not entered and not labelled: attacks then come as sessions of
    their own, which have one. How each kind does without resources, groups, bytes or sources
    says its docstring.

    Raises ConfigError for wrong attacks, a label file that cannot be read, or a recording
    without normal events; OSError when a file cannot be read or written.
    """
    problems = [*attack_problems(attacks)]
    if problems:
        raise ConfigError(problems)
    lines = read_lines(events_path)
    reader = Reader()
    times_ms = [*running_times_ms([reader.take(line) for line in lines])]
    labels = {} if labels_path is None else read_labels(labels_path)
    added, begins_ms = _attacked(reader.recording(), labels, attacks, seed)
    with created(out_events) as file:
        file.writelines(_merged(lines, np.array(times_ms, np.int64), added))
    with created(out_labels) as file:
        file.writelines(map(json_line, _relabelled(added, begins_ms, labels)))
    return added


def _attacked(
    recording: Recording, labels: Labels, attacks: Mapping[str, int], seed: int
) -> tuple[Recording, dict[int, int]]:
    """Return the events that attacks add, and the begin of every session in milliseconds."""
    begins_ms = _begins_ms(recording.columns)
    normal = _annotate(recording, labels, begins_ms)
    columns = recording.columns[np.isin(recording.columns["session"], normal)]
    if not len(columns):
        raise ConfigError(["the recording has no normal events to put attacks among"])
    third_ms = _last_two_thirds_ms(recording.columns)
    hosts = [n for n in normal if _enterable(recording.sessions[n]) and begins_ms[n] >= third_ms]
    rng = np.random.default_rng(seed)
    scene = Scene(
        replace(recording, columns=columns),
        hosts=hosts,
        # Labels may let the test begin later; sessions made up must keep to it.
        test_from_ms=min((begins_ms[n] for n in hosts), default=third_ms),
        rng=rng,
        movable=False,
    )
    attack(scene, attacks)
    added = in_time_order(scene.added_columns())
    begins_ms = _begins_ms(added) | begins_ms
    return replace(recording, columns=added, id_prefix=f"x{rng.integers(1 << 32):08x}-"), begins_ms


def _begins_ms(columns: Columns) -> dict[int, int]:
    first = first_rows(columns["session"], np.arange(len(columns)))
    return {session: int(columns["ts_ms"][row]) for session, row in first.items()}


def _last_two_thirds_ms(columns: Columns) -> int:
    start_ms, end_ms = columns["ts_ms"][[0, -1]].tolist()
    return int(start_ms + (end_ms - start_ms) // 3)


def _enterable(session: Session) -> bool:
    return session.phase == "test" and session.name != ""


def _annotate(recording: Recording, labels: Labels, begins_ms: dict[int, int]) -> list[int]:
    """Give every session the phase and the task of its label; return the normal sessions.

    Without a label the phase is told by the time.
    """
    normal = []
    for number, session in enumerate(recording.sessions):
        entry = labels.get(_labelled(recording, session, labels), {})
        early = begins_ms[number] < _last_two_thirds_ms(recording.columns)
        recording.sessions[number] = session._replace(
            phase=entry.get("phase", "warmup" if early else "test"),
            known_task=entry.get("known_task"),
        )
        if not entry.get("label"):
            normal.append(number)
    return normal


def _labelled(recording: Recording, session: Session, labels: Labels) -> SessionKey:
    """Return the key of a session's label, which says nothing of its tenant in older files."""
    agent = recording.agents[session.agent]
    key = (agent.tenant, agent.name, session.name)
    return key if key in labels else (None, *key[1:])


def _merged(lines: list[bytes], times_ms: Ints, added: Recording) -> Iterator[bytes]:
    every = [*lines, *event_lines(added)]
    order = np.argsort(np.concatenate([times_ms, added.columns["ts_ms"]]), kind="stable")
    return map(every.__getitem__, order.tolist())


def _relabelled(
    added: Recording, begins_ms: dict[int, int], labels: Labels
) -> Iterator[dict[str, Any]]:
    """Label every named session by its begin, then keep the labels without events."""
    rest = dict(labels)
    first_bad = first_rows(added.columns["session"], np.flatnonzero(added.columns["bad"]))
    for number in sorted(begins_ms, key=begins_ms.__getitem__):
        session = added.sessions[number]
        given = rest.pop(_labelled(added, session, rest), None)
        if session.attack is None and given is not None:
            tenant = added.agents[session.agent].tenant
            yield given if tenant is None else given | {"tenant": tenant}
        elif session.name:
            yield label(added, number, first_bad.get(number))
    yield from rest.values()
