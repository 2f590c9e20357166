"""Evidence that somebody has a word for: what an operator says of an event counts with its news.

The evidence of an event is counted once more in a statistic of its own, and what is kept of it
is marked, so that whoever explains the session can say why.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import EVIDENCE_USED
from astray.baseline.layout import SENSITIVE, SENSITIVE_MARK
from astray.compiled import inner


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
