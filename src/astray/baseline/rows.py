"""Rows of tables that are taken and given back; free ones are linked through `run`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.compiled import inner


@inner
def take_row(
    table: NDArray[Any], used: NDArray[np.int64], vacant: NDArray[np.int64], kind: int
) -> int:
    """Return a row as the template is; there must be one."""
    row = vacant[kind]
    if row > 0:
        vacant[kind] = table[row]["run"]
    else:
        row = used[kind]
        used[kind] += 1
    table[row] = table[0]
    return row


@inner
def give_row(table: NDArray[Any], vacant: NDArray[np.int64], kind: int, row: int) -> None:
    """Give a row back."""
    table[row]["run"] = vacant[kind]
    vacant[kind] = row
