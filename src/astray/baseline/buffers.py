"""What goes in and out of the hot loop besides the shard's memory."""

import numpy as np

from astray.baseline.layout import AGE_CLASSES, STATISTICS, TOTALS

SETTINGS = np.dtype(
    [
        ("idle_us", np.int64),  # a session without an event for so long has ended
        ("half_life_us", np.int64),
        ("rows_max", np.int64),  # a longer session is cut
        ("rehearsals", np.int64),  # attacks made up per session that is chosen
        ("known_weight", np.float64),  # an item with more decayed weight is known
        ("agent_bits_max", np.int64),  # caps of the tables, as powers of two of pages
        ("group_bits_max", np.int64),
        ("session_bits_max", np.int64),
        ("groups_max", np.int64),
        ("suspicious_bits", np.float64),  # from so many on a session teaches little
        ("quarantine_bits", np.float64),  # from so many on it teaches nothing
        ("report_bits", np.float64),  # from so many on a session is reported
        ("evidence_bits", np.float64),  # evidence below this is not kept
        ("limit_minute", np.float64),  # the lowest hard limits of all policies: values
        ("limit_bytes", np.float64),  # beyond them are reported
        ("limit_denied", np.float64),
        ("limit_denied_events", np.float64),
        ("limit_events", np.float64),
        ("limit_length_us", np.int64),
        ("sensitive", np.int64),  # 1: something is tagged as sensitive
        ("grants", np.int64),  # 1: there are grants
    ]
)
"""The configuration as the hot loop reads it."""

WINDOW = np.dtype(
    [
        ("first_us", np.int64),  # the window's first moment
        ("weight", np.float64),  # what one observation weighs in this window
        ("origin_us", np.int64),  # where an observation weighed 1
    ]
)
"""The event-time window that the shard is in; what it has learnt of peers is frozen in it."""

RECORD = np.dtype(
    [
        ("number", np.int64),  # of the session in its shard
        ("session", np.uint64),
        ("tenant", np.uint64),
        ("agent", np.uint64),
        ("group", np.uint64),
        ("row", np.int64),  # the event in its chunk; -1: the session has ended
        ("ts_us", np.int64),
        ("start_us", np.int64),
        ("age", np.int32),
        ("rows", np.int32),
        ("tags", np.uint64),
        ("minute_events", np.float64),
        ("total", np.float64, len(TOTALS)),
        ("expected", np.float32, len(TOTALS)),
        ("spread", np.float32, len(TOTALS)),
        ("silence", np.float32),
        ("usual_silence", np.float32),
        ("statistic", np.float32, len(STATISTICS)),
    ]
)
"""A session as it stands: sent on when a statistic has risen, and when the session ends."""

EVIDENCE = np.dtype(
    [
        ("number", np.int64),  # of the session in its shard
        ("row", np.int32),
        ("place", np.int32),  # which of the event's resources; -1: none
        ("channel", np.int32),
        ("level", np.int32),  # new to the agent, its group, the fleet
        ("bits", np.float64),
        ("rate", np.float64),  # how often the agent meets something new
        ("peer_rate", np.float64),  # and its peers
        ("marks", np.int32),  # what else is said of the event: `layout.SENSITIVE_MARK` ...
    ]
)
"""Something new in a session, worth keeping for the explanation."""

PENDING = np.dtype(
    [
        ("group", np.int32),
        ("item", np.uint32),
        ("known", np.int32),  # units for the table of what peers know: once per agent and day
        ("mass", np.int32),  # units for the peers' distribution: once per session
    ]
)
"""What a session has taught its group, visible when the window turns. Units are integers,
so the order in which sessions end within a window cannot change the sums."""

UNITS = 25
"""Units of an observation with full weight."""

(
    N_EVENTS,
    N_REDELIVERED,
    N_OPENED,
    N_CUT,
    N_QUARANTINED,
    N_PENDING_LOST,
    N_EVICTED,
    PENDING_USED,
    RECORDS_USED,
    EVIDENCE_USED,
    DONORS_USED,
    DONORS_NEXT,
    RECENT_DONORS_USED,
    N_ENDED,
    REHEARSED_PER_MILLION,
    KEPT_USED,
    N_UNKEPT,
    N_JUDGED,
    N_UNMATCHED,
    N_RELEASED,
    N_RANKED,
) = range(21)
UNSETTLED = N_RANKED + AGE_CLASSES
COUNTERS = UNSETTLED + AGE_CLASSES
"""The `N_` ones count for ever; the `_USED` ones are fill levels. `DONORS_NEXT` is the place of
the next donor; of a million sessions so many are rehearsed on. Verdicts that found no session
are `N_UNMATCHED`; sessions that left quarantine without one are `N_RELEASED`. From `N_RANKED` on
are the sessions in the shard's ranking, by age class; from `UNSETTLED` on, whether that is too
few."""
