"""Evidence that somebody has a word for: what an operator says of an event counts with its news.

The evidence of an event is counted once more in a statistic of its own, and what is kept of it
is marked, so that whoever explains the session can say why.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import EVIDENCE_USED
from astray.baseline.granting import LISTED, SAID_NOTHING, UNLISTED
from astray.baseline.layout import (
    ACTION,
    LISTED_MARK,
    PERMISSION,
    SENSITIVE,
    SENSITIVE_MARK,
    UNLISTED_MARK,
)
from astray.compiled import inner

_UNLISTED_BITS = 4.0
"""What an action that no grant lists counts more, however often its agent does something new."""


@inner
def add_sensitive(
    session: Any,
    bits: float,
    evidence: NDArray[Any],
    counters: NDArray[np.int64],
    first: int,
) -> None:
    """Count the evidence of a sensitive event; `first` is where its own begins in `evidence`."""
    session["statistic"][SENSITIVE] += bits
    for place in range(first, counters[EVIDENCE_USED]):
        evidence[place]["marks"] |= SENSITIVE_MARK


@inner
def add_permission(
    session: Any,
    of_action: float,
    said: int,
    evidence: NDArray[Any],
    counters: NDArray[np.int64],
    first: int,
) -> None:
    """Count an action that is new to its agent, of which grants have `said` something."""
    if said == SAID_NOTHING:
        return
    more = _UNLISTED_BITS if said == UNLISTED else 0.0
    session["statistic"][PERMISSION] += of_action + more
    for place in range(first, counters[EVIDENCE_USED]):
        if evidence[place]["channel"] == ACTION:
            evidence[place]["marks"] |= LISTED_MARK if said == LISTED else UNLISTED_MARK
