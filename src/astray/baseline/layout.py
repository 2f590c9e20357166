"""The shape of a shard's memory: channels, statistics, and the rows they are kept in.

Everything a shard knows is in a few structured arrays with fixed-size rows, so that the hot
loop touches few cache lines, a snapshot is a copy of buffers, and the memory of an agent is
known.
"""

import numpy as np

# ---- channels: the aspects of behaviour that have a baseline ------------------------------
CHANNELS = (
    "action", "transition", "resource", "pair", "source", "principal", "callee", "pattern",
    "place", "use", "hour",
)  # fmt: skip
(
    ACTION, TRANSITION, RESOURCE, PAIR, SOURCE, PRINCIPAL, CALLEE, PATTERN, PLACE, USE, HOUR,
) = range(len(CHANNELS))  # fmt: skip
"""What a resource looks like, where it lies, and what is done to its like are `PATTERN`,
`PLACE` and `USE`: asked where the resource itself is new, which in itself may mean nothing."""

NOVELTY_CHANNELS = 10
"""All but the hour: the channels on which something can be new."""

CHANNEL_SHARE = np.array([1.0, 0.5, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5])
"""Share of a channel's bits in an event's evidence: a transition and a pair repeat in part
what action and resource have said."""

COMPARED_CHANNELS = 2
"""Action and transition: the channels on which an agent is compared with its group."""

LEVELS = ("agent", "group", "fleet")
"""Who has never seen an item that is new."""

# ---- totals: what a session adds up -------------------------------------------------------
TOTALS = (
    "events", "bytes", "largest", "failures", "denials", "burst", "new_items", "callees", "depth",
)  # fmt: skip
(
    EVENTS, BYTES, LARGEST, FAILURES, DENIALS, BURST, NEW_ITEMS, CALLEES, DEPTH,
) = range(len(TOTALS))  # fmt: skip
"""The last two are of delegation: how many different agents it called, and how many had passed
on what it was asked for."""

# ---- statistics: numbers of a session that never fall while it runs -----------------------
STATISTICS = (
    "novelty_largest",
    "novelty_sum",
    "novelty_peers",
    "novelty_context",
    "novelty_action",
    "novelty_source",
    "novelty_resource",
    "novelty_place",
    "impersonation_action",
    "impersonation_transition",
    *TOTALS,
    "rhythm",
    "sensitive",
    "dormancy",
    "permission",
)
(
    NOVELTY_LARGEST,
    NOVELTY_SUM,
    NOVELTY_PEERS,
    NOVELTY_CONTEXT,
    NOVELTY_ACTION,
    NOVELTY_SOURCE,
    NOVELTY_RESOURCE,
    NOVELTY_PLACE,
    IMPERSONATION,
) = range(9)
FIRST_TOTAL = IMPERSONATION + COMPARED_CHANNELS
RHYTHM = FIRST_TOTAL + len(TOTALS)
SENSITIVE, DORMANCY, PERMISSION = range(RHYTHM + 1, len(STATISTICS))

# ---- tags: what patterns say of an event, a bit each ----------------------------------------
SENSITIVE_BIT = 63
SENSITIVE_TAG = np.uint64(1 << SENSITIVE_BIT)
FORBIDDEN_TAGS = np.uint64((1 << (SENSITIVE_BIT - 1)) - 1)
"""The others: two for each policy."""

SENSITIVE_MARK, LISTED_MARK, UNLISTED_MARK = 1, 2, 4
"""In what is kept of something new: the event was sensitive; it is an action that the agent's
grants list, or do not."""

# ---- keys of what has no name ---------------------------------------------------------------
UNGROUPED = np.uint64(0x756E67726F757065)
FLEET = np.uint64(0x666C656574666C65)
IMPLICIT = np.uint64(0x696D706C69636974)
"""Mixed with a tenant's id: the group of agents without one, the fleet. With an agent's: the
session of events without one."""

# ---- limits that no configuration changes: they are part of the state's layout -------------
SEEN_MAX = 32
"""Event ids an agent remembers: a redelivery within so many of its events changes nothing."""

AGE_CLASSES = 3

EVENTS_AHEAD = 16
"""Events of which is asked together for what they will look up."""

NOTED_AHEAD = 2 + 5 + 2 * 5
"""What is noted of each: two rows, five items, and five of each of two resources."""

# ---- rows ---------------------------------------------------------------------------------
_TABLE = [
    ("key", np.uint64),  # 0: the row is free
    ("run", np.int32),  # first page of its table; 0: none yet, or, of a free row, the next free
    ("run_bits", np.int32),  # the table has 2**run_bits pages
]

OWNER = np.dtype(
    [
        *_TABLE,
        ("parent", np.int32),  # an agent's group, a group's fleet: rows of the groups
        ("sessions", np.int32),  # ended sessions
        ("last_us", np.int64),  # time of its latest event
        ("draws", np.float32, NOVELTY_CHANNELS),  # distinct items of past sessions ...
        ("news", np.float32, NOVELTY_CHANNELS),  # ... and how many of them were new to it
        ("child_draws", np.float32, (AGE_CLASSES, NOVELTY_CHANNELS)),  # the same of its ...
        ("child_news", np.float32, (AGE_CLASSES, NOVELTY_CHANNELS)),  # ... agents, by age
        ("mass", np.float32, 3),  # weight of all its actions, transitions, hours
        ("totals", np.float32),  # weight of the sessions in the moments below
        ("mean", np.float32, len(TOTALS)),  # of log1p of its sessions' totals
        ("square", np.float32, len(TOTALS)),  # sum of squared deviations from the mean
        ("silence", np.float32),  # an agent's longest of late, in s, forward-decayed
        ("child_silence", np.float32),  # mean of log2 of its agents' longest
        ("head", np.int32),  # its open sessions, least recently active first; -1: none
        ("tail", np.int32),
        ("seen_next", np.int32),
        ("seen", np.uint32, SEEN_MAX),
    ]
)
"""A baseline: of an agent, of a group of agents, or of the fleet. Weights are forward-decayed."""

ATOMS_MAX = 12
"""Events that an open session remembers for a rehearsal of an attack on it."""

ATOM_RESOURCES = 2

PLAYED_MAX = 2 * ATOMS_MAX + 40
"""Events of a rehearsed attack."""

ATOM = np.dtype(
    [
        ("action", np.uint64),
        ("source", np.uint64),
        ("callee", np.uint64),
        ("resource", np.uint64, ATOM_RESOURCES),
        ("pattern", np.uint64, ATOM_RESOURCES),
        ("place", np.uint64, ATOM_RESOURCES),
        ("gap_us", np.int64),
        ("bytes", np.float32),
        ("count", np.float32),
        ("resource_count", np.int32),
        ("outcome", np.int32),
        ("is_sensitive", np.int32),
        ("depth", np.int32),
        ("called", np.int32),  # so many agents that it knows, besides
        ("spare", np.int32),
    ]
)
"""An event as it is played again."""

DONOR = np.dtype(
    [
        ("tenant", np.uint64),
        ("agent", np.uint64),
        ("group", np.uint64),
        ("order", np.uint64),
        ("atoms_used", np.int32),
        ("spare", np.int32),
        ("atoms", ATOM, ATOMS_MAX),
    ]
)
"""A past session from which a rehearsed attack takes foreign events."""

SCRIPT = np.dtype([("run", np.int32), ("atoms_used", np.int32), ("atoms", ATOM, ATOMS_MAX)])
"""What an open session has done first, of the few that are rehearsed on."""

SESSION = np.dtype(
    [
        *_TABLE,
        ("number", np.int64),  # of all sessions this shard has opened
        ("agent", np.int32),
        ("before", np.int32),  # neighbours in the agent's list of open sessions
        ("after", np.int32),
        ("age", np.int32),  # the agent's age class when the session began
        ("start_us", np.int64),
        ("last_us", np.int64),
        ("tenant", np.uint64),
        ("previous", np.uint64),  # the action before
        ("tags", np.uint64),
        ("rows", np.int32),  # lines, whereas the total of events adds their counts
        ("items_new", np.int32, NOVELTY_CHANNELS),
        ("items_new_to_peers", np.int32, NOVELTY_CHANNELS),
        ("items_new_to_fleet", np.int32, NOVELTY_CHANNELS),
        ("items", np.int32, NOVELTY_CHANNELS),
        ("total", np.float64, len(TOTALS)),
        ("burst", np.float64),  # events in the leaky bucket now
        ("minute_first_us", np.int64),
        ("minute_events", np.float64),
        ("minute_events_most", np.float64),
        ("expected", np.float32, len(TOTALS)),  # location, scale and freedom of the
        ("spread", np.float32, len(TOTALS)),  # predictive distribution of each total,
        ("freedom", np.float32),  # fixed when the session began
        ("silence", np.float32),  # log2 of the s for which the agent was silent before it ...
        ("usual_silence", np.float32),  # ... and of what is long for it and its peers
        ("rated", np.float64, len(TOTALS)),  # a total up to here has its bits in the statistic
        ("likeness", np.float64, COMPARED_CHANNELS),
        ("statistic", np.float32, len(STATISTICS)),
        ("bin", np.int32, len(STATISTICS)),
        ("script", np.int32),  # what attacks on it are made of when it ends; 0: there are none
        ("spare", np.int32),
    ]
)
"""An open session: its leaf (the items it has seen), totals and statistics so far."""

TAUGHT = np.dtype(
    [
        ("sessions", np.int64),
        ("draws", np.int64, NOVELTY_CHANNELS),
        ("news", np.int64, NOVELTY_CHANNELS),  # items new to the group; to the fleet
        ("child_draws", np.int64, (AGE_CLASSES, NOVELTY_CHANNELS)),
        ("child_news", np.int64, (AGE_CLASSES, NOVELTY_CHANNELS)),
        ("mass", np.int64, 3),
        ("totals", np.int64),
        ("sum", np.int64, len(TOTALS)),  # of log1p of the totals, in 2**-16
        ("square", np.int64, len(TOTALS)),  # of its squares, in 2**-16
        ("silence", np.int64),  # of log2 of its agents' longest silences, in 2**-16
    ]
)
"""What a window's sessions have taught a group, beside its table. Integers, so the order in
which sessions end within a window cannot change the sums."""
