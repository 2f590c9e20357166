"""What the hot loop writes of a session for those who decide."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import RECORDS_USED
from astray.compiled import inner


@inner
def report(
    records: NDArray[Any],
    counters: NDArray[np.int64],
    session: Any,
    agent: Any,
    group: Any,
    row: int,
    ts_us: int,
) -> None:
    """Write the session as it stands into the records."""
    record = records[counters[RECORDS_USED]]
    counters[RECORDS_USED] += 1
    record["number"] = session["number"]
    record["session"] = session["key"]
    record["tenant"] = session["tenant"]
    record["agent"] = agent["key"]
    record["group"] = group["key"]
    record["row"] = row
    record["ts_us"] = ts_us
    record["start_us"] = session["start_us"]
    record["age"] = session["age"]
    record["rows"] = session["rows"]
    record["tags"] = session["tags"]
    record["silence"] = session["silence"]
    record["usual_silence"] = session["usual_silence"]
    record["minute_events"] = session["minute_events_most"]
    for total in range(len(session["total"])):
        record["total"][total] = session["total"][total]
        record["expected"][total] = session["expected"][total]
        record["spread"][total] = session["spread"][total]
    for statistic in range(len(session["statistic"])):
        record["statistic"][statistic] = session["statistic"][statistic]
