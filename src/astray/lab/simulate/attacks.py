"""The kinds of attack, each as a function that adds one of its kind to a scene.

A function returns the sessions it attacked, in time order. Every attack draws how brazen it
is, so that each kind has easy and hard cases.
"""

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from astray.lab.simulate.catalog import PRIVILEGED
from astray.lab.simulate.recording import ABSENT, Columns, Ints
from astray.lab.simulate.scene import Scene

_LOOKS: Final = re.compile(
    r"get|list|read|search|describe|fetch|lookup|query|find|scan", re.IGNORECASE
)
_SENDS: Final = re.compile(
    r"send|put|upload|post|export|publish|share|write|reply|http", re.IGNORECASE
)
_RARE_SHARE: Final = 0.005  # of a group's events: an action below it is rare there
_HOUR_MS: Final = 3_600_000
_MANY_CALLEES: Final = 5
_CALLEES_MAX: Final = 40


def stolen_credential(scene: Scene) -> list[int]:
    """Work under the victim's name as somebody else: other habits, mostly another source.

    Without groups the thief does what other agents of the recording do; without sources only
    the habits tell.
    """
    victim = scene.victim()
    # One thief in two works in another part of the world.
    shift_ms = int(scene.rng.integers(5, 13)) * _HOUR_MS if scene.chance(0.5) else 0
    begin_ms = scene.moment_ms(victim) + shift_ms
    count = int(scene.between(6, 45))
    models = [scene.choose(scene.peers(victim)) for _ in range(4)]
    seen = scene.with_resource(np.concatenate([scene.of(model) for model in models]))
    known = scene.sample(scene.of(victim), int(count * scene.rng.uniform(0.1, 0.8)))
    explored = scene.sample(seen, max(1, count - len(known) - 1))
    acts = scene.rng.permutation(np.concatenate([known, explored, scene.foreign(victim, 1)]))
    scene.settle(acts, denied_share=scene.rng.uniform(0.0, 0.2))
    gaps_s = scene.pace_s(victim, len(acts), scene.between(0.4, 3.0))
    session = scene.begin(victim, acts, gaps_s, begin_ms)
    if scene.chance(0.85) and acts["source"][0] != ABSENT:
        acts["source"] = scene.recording.sources.add(_elsewhere(scene))
    return [session]


def _elsewhere(scene: Scene) -> str:
    inside = scene.chance(0.3)
    network = "10.250" if inside else f"{scene.rng.integers(45, 200)}.{scene.rng.integers(256)}"
    return f"{network}.{scene.rng.integers(256)}.{scene.rng.integers(1, 255)}"


def enumeration(scene: Scene) -> list[int]:
    """Try one action on one resource after the other, fast, refused more often than usual.

    Without resources it is one action after the other.
    """
    victim = scene.victim()
    begin_ms = scene.moment_ms(victim)
    host = scene.host(victim) if scene.chance(0.5) else None
    count = int(scene.between(12, 150))
    looks = scene.named(scene.of(victim), _LOOKS)
    usable = scene.with_resource(looks if len(looks) else scene.of(victim))
    chosen = scene.rng.choice(scene.columns["action"][usable])
    acts = scene.sample(usable[scene.columns["action"][usable] == chosen], count)
    if acts["resource"][0] == ABSENT:
        every = np.unique(scene.columns["action"])
        acts["action"] = np.resize(scene.rng.permutation(every), count)
    else:
        acts["resource"] = _sweep(scene, int(chosen), int(acts["resource"][0]), count)
    scene.settle(acts, denied_share=scene.rng.uniform(0.05, 0.6))
    gaps_s = scene.between(0.1, 5.0) * np.exp(scene.rng.normal(0.0, 0.4, count))
    if host is None:
        return [scene.begin(victim, acts, gaps_s, begin_ms)]
    return [scene.strike(host, acts, gaps_s)]


def _sweep(scene: Scene, action: int, model: int, count: int) -> Ints:
    """List distinct resources for an action: some that exist, the others guessed."""
    existing = np.unique(scene.columns["resource"][scene.doing(action)])
    existing = scene.rng.permutation(existing[existing != ABSENT])
    existing = existing[: int(count * scene.rng.uniform(0.2, 0.9))]
    guessed = [scene.sibling(model) for _ in range(count - len(existing))]
    return scene.rng.permutation(np.concatenate([existing, guessed]).astype(np.int64))


def exfiltration(scene: Scene) -> list[int]:
    """Read much in a burst, then send far more than the usual size, mostly to an outsider.

    Without bytes the number of reads and the destination have to tell; without resources
    their number alone.
    """
    victim = scene.victim()
    host = scene.host(victim)
    own = scene.of(victim)
    sized = own[scene.columns["bytes"][own] != ABSENT]
    most = 25 if len(sized) else 60
    reads = scene.sample(_different(scene, scene.choose(scene.peers(victim))), _few(scene, most))
    carriers = scene.named(sized if len(sized) else own, _SENDS)
    carrier = scene.sample(scene.with_resource(carriers if len(carriers) else own), 1)
    sends = np.repeat(carrier, _few(scene, 6))
    if len(sized):
        usual = float(np.quantile(scene.columns["bytes"][sized], 0.99))
        factors = [scene.between(1.2, 30.0) for _ in sends]
        sends["bytes"] = np.ceil(usual * np.array(factors)).astype(np.int64) + 1
    if scene.chance(0.8):
        sends["resource"] = scene.outside(int(sends["resource"][0]))
    acts = scene.settle(np.concatenate([reads, sends]))
    gaps_s = scene.pace_s(victim, len(acts), scene.between(1.0, 8.0))
    return [scene.strike(host, acts, gaps_s)]


def _few(scene: Scene, most: int) -> int:
    return int(scene.between(1, most + 1))


def _different(scene: Scene, agent: int) -> Ints:
    """Find one row of each resource that `agent` uses; its rows if it uses none."""
    rows = scene.with_resource(scene.of(agent))
    _, first = np.unique(scene.columns["resource"][rows], return_index=True)
    return rows[first] if len(first) > 1 else rows


def privileged_action(scene: Scene) -> list[int]:
    """Do one to three powerful things that the group does rarely or never, amid normal work.

    Without groups: that the recording's agents do rarely or never.
    """
    victim = scene.victim()
    host = scene.host(victim)
    rows = np.concatenate([scene.of(peer) for peer in scene.peers(victim)])
    shares = np.bincount(scene.columns["action"][rows]) / len(rows)
    used = {scene.recording.actions[n]: share for n, share in enumerate(shares.tolist())}
    rare = [name for name in PRIVILEGED if used.get(name, 0.0) < _RARE_SHARE]
    names = rare or sorted(PRIVILEGED, key=lambda name: used[name])[:3]
    chosen = scene.rng.choice(names, min(len(names), int(scene.rng.integers(1, 4))), replace=False)
    acts = np.concatenate([_privileged(scene, victim, name) for name in chosen.tolist()])
    scene.settle(acts, denied_share=0.15)
    return [scene.strike(host, acts, scene.pace_s(victim, len(acts)))]


def _privileged(scene: Scene, victim: int, name: str) -> Columns:
    """Do the action as others do it, or to its natural target if nobody does it."""
    number = scene.recording.actions.add(name)
    others = scene.doing(number)
    if len(others) and scene.chance(0.7):
        return scene.sample(others, 1)
    act = scene.sample(scene.of(victim), 1)
    if (scene.columns["resource"] != ABSENT).any():
        act["resource"] = scene.recording.resources.add((PRIVILEGED[name],))
    act["action"], act["target"] = number, ABSENT
    return act


def slow_abuse(scene: Scene) -> list[int]:
    """Touch one foreign resource in each of many otherwise normal sessions: a campaign.

    Without resources it is one action of somebody else's.
    """
    count = int(scene.rng.integers(8, 26))
    victim = scene.victim(hosts_min=count)
    hosts = scene.hosts(victim, count)
    acts = _trespass(scene, victim, count)
    return [
        scene.strike(host, acts[turn : turn + 1], scene.pace_s(victim, 1))
        for turn, host in enumerate(hosts)
    ]


def _trespass(scene: Scene, victim: int, count: int) -> Columns:
    """Reach for what belongs to others; the careful one does it with the victim's own tools."""
    covert = scene.chance(0.5)
    return scene.settle(scene.covert(victim, count) if covert else scene.foreign(victim, count))


def mimicry(scene: Scene) -> list[int]:
    """Do another team's work for a session, in the victim's name.

    Without groups: another agent's work; with one agent alone: its own, on new resources.
    """
    victim = scene.victim()
    begin_ms = scene.moment_ms(victim)
    model = scene.stranger(victim)
    count = int(scene.between(5, 40))
    acts = _stretch(scene, model, count)
    if model == victim:
        acts["resource"] = [scene.sibling(resource) for resource in acts["resource"].tolist()]
    if scene.chance(0.5):
        own = scene.rng.random(len(acts)) < scene.rng.uniform(0.0, 0.6)
        acts[own] = scene.sample(scene.of(victim), int(own.sum()))
    scene.settle(acts, denied_share=scene.rng.uniform(0.0, 0.1))
    gaps_s = scene.pace_s(scene.choose([victim, model]), len(acts))
    session = scene.begin(victim, acts, gaps_s, begin_ms)
    scene.forget_task(session)
    return [session]


def _stretch(scene: Scene, agent: int, count: int) -> Columns:
    """Copy what `agent` did at some time, in order, across sessions if need be."""
    rows = scene.of(agent)
    start = int(scene.rng.integers(max(1, len(rows) - count)))
    return scene.columns[rows[start : start + count]]


def injected_task(scene: Scene) -> list[int]:
    """Hijack a session midway: a few actions on what the attacker chose, then onwards.

    Without resources only actions and their order tell.
    """
    victim = scene.victim()
    host = scene.host(victim)
    count = int(scene.rng.integers(3, 7))
    models = [victim, scene.choose(scene.peers(victim)), scene.stranger(victim)]
    weights = scene.rng.dirichlet((1.5, 1.5, 1.0))
    pools = scene.rng.choice(3, count, p=weights)
    acts = np.concatenate(
        [scene.sample(scene.with_resource(scene.of(models[p])), 1) for p in pools]
    )
    chosen = scene.rng.random(count) < scene.rng.uniform(0.4, 1.0)
    chosen[-1] = True
    outside = [scene.outside(resource) for resource in acts["resource"].tolist()]
    acts["resource"] = np.where(chosen, outside, acts["resource"])
    scene.settle(acts, denied_share=0.05)
    gaps_s = scene.pace_s(victim, count, scene.between(0.7, 2.5))
    return [scene.strike(host, acts, gaps_s)]


def patient_poisoning(scene: Scene) -> list[int]:
    """Make the final act look usual before it comes: a campaign.

    Every session shows a little more of the final act; the last one is the act itself, all of
    it and a larger size, and says nothing of a known task. Each agent is taken once at most,
    so the last session by time is the act. Without resources the parts are actions.
    """
    count = int(scene.rng.integers(7, 17))
    victim = scene.victim(hosts_min=count, fresh=True)
    *steps, last = scene.hosts(victim, count)
    parts = _trespass(scene, victim, int(scene.rng.integers(3, 7)))
    sessions = []
    for turn, host in enumerate(steps):
        shown = math.ceil((turn + 1) * len(parts) / len(steps))
        # The newest part, and at times one from before, so that it is learnt.
        which = {shown - 1, int(scene.rng.integers(shown))} if scene.chance(0.6) else {shown - 1}
        acts = parts[sorted(which)]
        sessions.append(scene.strike(host, acts, scene.pace_s(victim, len(acts))))
    act = np.repeat(parts, int(scene.rng.integers(1, 4)))
    act["bytes"] = np.where(
        act["bytes"] > 0, act["bytes"] * int(scene.between(2, 20)), act["bytes"]
    )
    sessions.append(scene.strike(last, act, scene.pace_s(victim, len(act), 2.0)))
    scene.forget_task(sessions[-1])
    return sessions


def delegation(scene: Scene) -> list[int]:
    """Hand work on to one agent after another amid normal work: known ones, others, made-up ones.

    The careful one calls those alone that the victim knows. Where nobody calls anybody the number
    of events has to tell.
    """
    victim = scene.victim()
    host = scene.host(victim)
    own = scene.calling(scene.of(victim))
    others = scene.calling(np.concatenate([scene.of(peer) for peer in scene.peers(victim)]))
    known, foreign = (np.unique(scene.columns["target"][rows]) for rows in (own, others))
    called = scene.rng.permutation(known)
    if len(known) < _MANY_CALLEES or scene.chance(0.7):
        foreign = scene.rng.permutation(np.setdiff1d(foreign, known))
        made_up = [f"agent-{number}" for number in scene.rng.integers(10**6, size=_CALLEES_MAX)]
        numbers = [scene.recording.targets.add(name) for name in made_up]
        called = np.concatenate([called[: int(scene.rng.integers(4))], foreign, numbers])
    count = min(int(scene.between(_MANY_CALLEES, _CALLEES_MAX)), len(called))
    models = own if len(own) else others
    acts = scene.settle(scene.sample(models if len(models) else scene.of(victim), count))
    if len(models):
        acts["target"] = called[:count]
    return [scene.strike(host, acts, scene.pace_s(victim, len(acts), scene.between(0.5, 5.0)))]


ATTACKS: Final[Mapping[str, Callable[[Scene], list[int]]]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            stolen_credential,
            enumeration,
            exfiltration,
            privileged_action,
            slow_abuse,
            mimicry,
            injected_task,
            patient_poisoning,
            delegation,
        )
    }
)


def attack(scene: Scene, attacks: Mapping[str, int]) -> None:
    """Add as many attacks of each kind as asked for and label their sessions.

    Raises ConfigError when there are more campaigns than agents to take.
    """
    # Campaigns come first: they need many sessions of one agent.
    campaigns = ("patient_poisoning", "slow_abuse")
    for kind in sorted(ATTACKS, key=lambda kind: kind not in campaigns):
        for _ in range(attacks.get(kind, 0)):
            for session in ATTACKS[kind](scene):
                scene.mark(session, kind)
