"""Whether a series has changed its level, as river's ADWIN sees it.

river is imported when it is asked for: it takes a second.
"""

import importlib
from collections.abc import Iterable

_CONFIDENCE = 0.002
_SHORTEST = 3
"""So many of a series may make a level of their own."""


def has_changed(series: Iterable[float]) -> bool:
    """Return whether ADWIN (Bifet and Gavaldà, 2007) finds two levels in a series.

    It learns nothing for later: the series is shown to a detector that begins with it.

    >>> has_changed([1.0] * 30), has_changed([1.0] * 30 + [9.0] * 8)
    (False, True)
    """
    adwin = importlib.import_module("river.drift").ADWIN(
        delta=_CONFIDENCE, clock=1, min_window_length=_SHORTEST, grace_period=2 * _SHORTEST
    )
    found = False
    for value in series:
        adwin.update(value)
        found = found or adwin.drift_detected
    return found
