"""What is too long ago to act upon.

Who has lost the state reads the stream anew, and would have sessions suspended that ended
long ago. Time is that of events: a recording, however old, is present while it is read for
the first time.
"""

from dataclasses import replace

from astray.decide.decision import Decision, Level, Withheld, decision_id


def unless_past(decision: Decision, newest_us: int, within_us: int) -> Decision:
    """Return the decision, without its suspension where that comes too late.

    `newest_us` is the time of the newest event that was known before the reading began; what
    lies more than `within_us` behind it was read then, or was not to be acted upon.
    """
    if not decision.suspends or newest_us - decision.ts_us <= within_us:
        return decision
    of = (decision.tenant, decision.agent, decision.session, decision.policy)
    level = Level.WITHHELD
    return replace(decision, id=decision_id(*of, level), level=level, withheld=Withheld.PAST)
