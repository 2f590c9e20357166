"""Self-made attacks: what this fleet's own sessions would look like if they were hijacked.

At the end of a session, before it is learnt, some of what it did is done once more with an
attacker's hand in it, scored by the same code against the same baselines, and thrown away:
only its statistics are reported. What such sessions have in common, and real ones have not,
is what an attack would look like in this fleet; `calibrate` learns it without a label.

Everything is drawn from hashes of what sessions did, so the same events make the same attacks,
in any order within a window, whatever agents are called. Half of the injected tasks take the
place of own events: otherwise a fleet whose sessions are all of one length would teach that
length is what matters.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import EVIDENCE_USED
from astray.baseline.granting import LISTED, UNLISTED
from astray.baseline.items import add_items
from astray.baseline.layout import ATOM_RESOURCES, ATOMS_MAX, CALLEE
from astray.baseline.marking import add_permission, add_sensitive
from astray.baseline.pages import Pages
from astray.baseline.ranking import Ranks
from astray.baseline.session import add_totals, raise_statistics
from astray.compiled import float64, inner, int64
from astray.events.ids import mix

KINDS = (
    "injected_task",
    "stolen_credential",
    "foreign_resources",
    "new_behaviour",
    "enumeration",
    "exfiltration",
    "burst",
    "delegation",
)
"""Kinds of attacks: another agent's events spliced into a session; another agent's session
under this one's name; own actions on another's resources; resources and actions nobody has
seen; one action on one new resource after another; much larger transfers; the same far more
often; one agent called after another, or a longer chain of them. The last is rehearsed where
agents call each other at all."""

(
    INJECTED, STOLEN, FOREIGN, NEW, ENUMERATION, EXFILTRATION, BURST, DELEGATION,
) = range(len(KINDS))  # fmt: skip

FIRST_ROW = -2
"""A record's row tells the kind: this for the first, one less for each further one."""

STRUCK_ROW, RESTORED_ROW, AGREED_ROW, EXPIRED_ROW = -100, -101, -102, -103
"""Rows of records that are no sessions as they stand, but tell that one was confirmed to be
malicious, or is so no more; that one has left quarantine, as its peers have come to do the same,
or as it had been there long enough."""

_TRIES = 48
_PEERS = 0.5
_INJECTED_MAX = 3
_NEW_SOURCE = 0.7
_NEW_ACTION = 0.4
_SENSITIVE, _UNLISTED = 0.5, 0.5
_DORMANT, _SLEPT_MIN, _SLEPT_MORE = 0.25, 1.0, 6.0
_ENUMERATED_MIN, _ENUMERATED_MORE = 8.0, 32.0
_ENUMERATED_GAP_US = 200_000
_LARGER_BITS_MIN, _LARGER_BITS_MORE = 2.0, 8.0
_MORE_OFTEN_MIN, _MORE_OFTEN_MORE = 2.0, 6.0
_CALLED_MIN, _CALLED_MORE = 4.0, 28.0
_DEEPER_MAX = 4
_TOUCHED_MIN = 0.3
_UNLIKE, _ELSEWHERE = 0.7, 0.85
_UNLIKE_MORE = 0.5
_SALT = np.uint64(0x9D39247E33776D41)
_LOW = np.uint64(0xFFFFFFFF)
_UNIT = 1.0 / 4294967296.0
_NONE = np.uint64(0)


@inner
def draw(seed: np.uint64, number: int) -> float:
    """Return a number in [0, 1) that depends on the seed and the number alone."""
    return float64(int64(mix(seed, np.uint64(number) + _SALT) & _LOW)) * _UNIT


@inner
def keep_atom(
    script: Any, event: Any, resources: NDArray[Any], is_sensitive: int, last_us: int
) -> None:
    """Remember one of a session's first events; the one before it was at `last_us`."""
    used = int64(script["atoms_used"])
    if used >= ATOMS_MAX:
        return
    atom = script["atoms"][used]
    atom["action"] = event["action"]
    atom["source"] = event["source"]
    atom["callee"] = event["callee"]
    atom["bytes"] = event["bytes"]
    atom["count"] = event["count"]
    atom["outcome"] = event["outcome"]
    atom["is_sensitive"] = is_sensitive
    atom["depth"] = event["depth"]
    atom["called"] = 0
    atom["gap_us"] = max(event["ts_us"] - last_us, 0)
    count = min(int64(event["resource_count"]), int64(ATOM_RESOURCES))
    atom["resource_count"] = count
    for place in range(count):
        resource = resources[event["resource_first"] + place]
        atom["resource"][place] = resource["id"]
        atom["pattern"][place] = resource["pattern"]
        atom["place"][place] = resource["place"]
    script["atoms_used"] = used + 1


@inner
def donor_of(
    donors: NDArray[Any],
    used: int,
    session: Any,
    agent: np.uint64,
    group: np.uint64,
    seed: np.uint64,
) -> int:
    """Return the place of a past session of another agent of the tenant, or -1.

    It is one of the agent's peers every other time, if there is any: what they do is harder
    to tell from what it does.
    """
    start = int64(draw(seed, int64(1)) * used)
    is_peer = draw(seed, int64(12)) < _PEERS
    found = -1
    for step in range(min(used, _TRIES)):
        place = (start + step) % used
        donor = donors[place]
        if donor["tenant"] == session["tenant"] and donor["agent"] != agent:
            if not is_peer or donor["group"] == group:
                return place
            found = place if found < 0 else found
    return found


@inner
def _copied(atoms: NDArray[Any], first: int, end: int, plan: NDArray[Any], used: int) -> int:
    for place in range(first, end):
        plan[used] = atoms[place]
        used += 1
    return used


@inner
def _inject(script: Any, donor: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    own, theirs = int64(script["atoms_used"]), int64(donor["atoms_used"])
    first = int64(draw(seed, int64(2)) * theirs)
    end = min(first + 1 + int64(draw(seed, int64(3)) * _INJECTED_MAX), theirs)
    at = int64(draw(seed, int64(4)) * (own + 1))
    is_replaced = draw(seed, int64(5)) < 0.5
    used = _copied(script["atoms"], int64(0), at, plan, int64(0))
    source = script["atoms"][0]["source"]
    used = _copied(donor["atoms"], first, end, plan, used)
    for place in range(at, used):
        plan[place]["source"] = source
    after = min(at + end - first, own) if is_replaced else at
    return _copied(script["atoms"], after, own, plan, used)


@inner
def _steal(script: Any, donor: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    used = _copied(donor["atoms"], int64(0), int64(donor["atoms_used"]), plan, int64(0))
    source = script["atoms"][0]["source"]
    if draw(seed, int64(2)) < _NEW_SOURCE:
        source = mix(seed, _SALT)
    for place in range(used):
        plan[place]["source"] = source
    return used


@inner
def more_sleep(kind: int, seed: np.uint64) -> float:
    """Return by how much longer an agent has been silent before an attack, in bits.

    Credentials that nobody uses are stolen as well as others.
    """
    if kind != STOLEN or draw(seed, int64(5)) >= _DORMANT:
        return 0.0
    return _SLEPT_MIN + _SLEPT_MORE * draw(seed, int64(6))


@inner
def _is_touched(seed: np.uint64, place: int, own: int) -> bool:
    """Return whether an attack changes an event; it changes one at least."""
    share = _TOUCHED_MIN + (1.0 - _TOUCHED_MIN) * draw(seed, int64(3))
    return place == int64(draw(seed, int64(4)) * own) or draw(seed, 16 + place) < share


@inner
def _misuse(script: Any, donor: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    own, theirs = int64(script["atoms_used"]), int64(donor["atoms_used"])
    used = _copied(script["atoms"], int64(0), own, plan, int64(0))
    for place in range(used):
        if _is_touched(seed, place, own):
            other = donor["atoms"][int64(draw(seed, 64 + place) * theirs)]
            plan[place]["resource_count"] = other["resource_count"]
            plan[place]["is_sensitive"] |= other["is_sensitive"]
            for at in range(ATOM_RESOURCES):
                plan[place]["resource"][at] = other["resource"][at]
                plan[place]["pattern"][at] = other["pattern"][at]
                plan[place]["place"][at] = other["place"][at]
    return used


@inner
def _set_resource(atom: Any, resource: np.uint64, far: float) -> None:
    """Let an event touch a resource that nobody has seen.

    The larger `far` is, of 1, the less it has in common with what was touched before.
    """
    is_none = atom["resource_count"] == 0
    atom["resource"][0] = resource
    if is_none or far > _ELSEWHERE:
        atom["place"][0] = mix(resource, _SALT)
    if is_none or far > _UNLIKE:
        atom["pattern"][0] = mix(atom["place"][0], resource)
    atom["resource_count"] = max(int64(atom["resource_count"]), int64(1))


@inner
def _break_new_ground(script: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    own = int64(script["atoms_used"])
    used = _copied(script["atoms"], int64(0), own, plan, int64(0))
    for place in range(used):
        if _is_touched(seed, place, own):
            far = draw(seed, 256 + place)
            _set_resource(plan[place], mix(seed, np.uint64(place)), far)
            if draw(seed, 128 + place) < _NEW_ACTION:
                plan[place]["action"] = mix(seed, np.uint64(1000 + place))
                plan[place]["is_sensitive"] |= int64(draw(seed, 384 + place) < _SENSITIVE)
    return used


@inner
def _enumerate(script: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    own = int64(script["atoms_used"])
    at = int64(draw(seed, int64(4)) * own)
    used = _copied(script["atoms"], int64(0), at + 1, plan, int64(0))
    far = draw(seed, int64(3)) * _UNLIKE_MORE
    more = int64(_ENUMERATED_MIN + draw(seed, int64(2)) * _ENUMERATED_MORE)
    for number in range(more):
        plan[used] = script["atoms"][at]
        plan[used]["gap_us"] = _ENUMERATED_GAP_US
        _set_resource(plan[used], mix(seed, np.uint64(2000 + number)), far)
        used += 1
    return _copied(script["atoms"], at + 1, own, plan, used)


@inner
def _exfiltrate(script: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    own = int64(script["atoms_used"])
    used = _copied(script["atoms"], int64(0), own, plan, int64(0))
    factor = 2.0 ** (_LARGER_BITS_MIN + _LARGER_BITS_MORE * draw(seed, int64(2)))
    for place in range(used):
        if _is_touched(seed, place, own):
            plan[place]["bytes"] = float64(plan[place]["bytes"]) * factor
    return used


@inner
def _hammer(script: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    own = int64(script["atoms_used"])
    factor = 2.0 ** (_MORE_OFTEN_MIN + _MORE_OFTEN_MORE * draw(seed, int64(2)))
    used = int64(0)
    for turn in range(2):
        used = _copied(script["atoms"], int64(0), own, plan, used)
        for place in range(turn * own, used):
            plan[place]["gap_us"] = min(int64(plan[place]["gap_us"]), _ENUMERATED_GAP_US)
            plan[place]["count"] = max(float64(plan[place]["count"]) * factor / 2.0, 1.0)
    return used


@inner
def _delegate(script: Any, seed: np.uint64, plan: NDArray[Any]) -> int:
    """Call one new agent after another, or many known ones, or be at the end of a longer chain.

    One of the three alone, so that nobody learns that there have to be all of them.
    """
    own = int64(script["atoms_used"])
    used = _copied(script["atoms"], int64(0), own, plan, int64(0))
    at = int64(draw(seed, int64(4)) * own)
    called = int64(_CALLED_MIN + draw(seed, int64(2)) * _CALLED_MORE)
    way = int64(draw(seed, int64(3)) * 3.0)
    if way == 0:
        for place in range(used):
            plan[place]["depth"] += 1 + int64(draw(seed, int64(2)) * _DEEPER_MAX)
    elif way == 1:
        plan[at]["called"] = called
    else:
        for number in range(called):
            plan[used] = script["atoms"][at]
            plan[used]["gap_us"] = _ENUMERATED_GAP_US
            plan[used]["callee"] = mix(seed, np.uint64(3000 + number))
            used += 1
    return used


@inner
def plan_attack(script: Any, donor: Any, kind: int, seed: np.uint64, plan: NDArray[Any]) -> int:
    """Write the events of an attack on what a session did into `plan`; return how many they are."""
    if kind == INJECTED:
        return _inject(script, donor, seed, plan)
    if kind == STOLEN:
        return _steal(script, donor, seed, plan)
    if kind == FOREIGN:
        return _misuse(script, donor, seed, plan)
    if kind == NEW:
        return _break_new_ground(script, seed, plan)
    if kind == ENUMERATION:
        return _enumerate(script, seed, plan)
    if kind == EXFILTRATION:
        return _exfiltrate(script, seed, plan)
    if kind == DELEGATION:
        return _delegate(script, seed, plan)
    return _hammer(script, seed, plan)


@inner
def play(
    atom: Any,
    pseudo: Any,
    event: Any,
    resources: NDArray[Any],
    agent: Any,
    group: Any,
    fleet: Any,
    pages: Pages,
    settings: Any,
    window: Any,
    ranks: Ranks,
    evidence: NDArray[Any],
    counters: NDArray[np.int64],
) -> None:
    """Let an event of a plan happen in `pseudo`; `event` and `resources` are room to do it in."""
    event["ts_us"] = pseudo["last_us"] + atom["gap_us"]
    event["action"] = atom["action"]
    event["source"] = atom["source"]
    event["callee"] = atom["callee"]
    event["depth"] = atom["depth"]
    event["resource_count"] = atom["resource_count"]
    event["outcome"] = atom["outcome"]
    event["bytes"] = int64(float64(atom["bytes"]))
    event["count"] = int64(float64(atom["count"]))
    for place in range(int64(atom["resource_count"])):
        resources[place]["id"] = atom["resource"][place]
        resources[place]["pattern"] = atom["pattern"][place]
        resources[place]["place"] = atom["place"][place]
    used = counters[EVIDENCE_USED]
    bits, of_action = add_items(
        pseudo, event, resources, agent, group, fleet, pages, settings, window, evidence,
        counters, int64(0),
    )  # fmt: skip
    counters[EVIDENCE_USED] = used  # nobody is told
    pseudo["items"][CALLEE] += atom["called"]
    if settings["sensitive"] > 0 and atom["is_sensitive"] > 0:
        add_sensitive(pseudo, bits, evidence, counters, int64(used))
    if of_action > 0.0 and settings["grants"] > 0:
        # Nobody reads grants for what has not happened: some of it they would not list.
        seed = mix(event["action"], np.uint64(pseudo["start_us"]))
        said = UNLISTED if draw(seed, int64(7)) < _UNLISTED else LISTED
        add_permission(pseudo, of_action, int64(said), evidence, counters, int64(used))
    add_totals(pseudo, event)
    raise_statistics(pseudo, ranks)
