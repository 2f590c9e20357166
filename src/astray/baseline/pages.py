"""Tables of items in pages: how every baseline and every open session remembers.

An item is a 32-bit fingerprint of (channel, id). A table is a run of 2**k pages of 16
slots; the fingerprint's low bits choose the page, and a page is searched whole. A full page
makes the table double, up to a cap; at the cap the least weight in the page gives way. So
a table's memory follows what it holds, its cost per look-up does not, and no owner can push
out another's items. A look-up takes another item for this one with a chance of 16 / 2**32.

All tables of a shard share one array of pages. Page 0 is its ledger: item k is the first
free run of 2**k pages (0: none; free runs are linked through their first item), the last
item is the number of pages ever used.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, float64, inner, int64
from astray.events.ids import mix
from astray.vector import LANES, fetch, place_of

WAYS = LANES
RUN_BITS_MAX = 10
"""The largest table is 2**10 pages."""

PAGE = np.dtype(
    [
        ("item", np.uint32, WAYS),  # 0: the slot is empty
        ("weight", np.float32, WAYS),
        ("note", np.uint8, WAYS),
    ]
)
Pages = NDArray[Any]
"""A structured array of `PAGE`."""

NOTE_MAX = 255
"""In the table of an agent an item's note is the last day on which it was told to peers; days
are counted from 1 to this, and from 1 again."""

EXCUSED_NOTE = 1
"""In the table of a group: nobody of it finds this item new, as somebody has said so."""

_WEIGHTS, _LAST = 4 * WAYS, PAGE.itemsize - 1
_USED = WAYS - 1
_HALF = np.uint64(32)
_SALT = np.uint64(0xA24BAED4963EE407)


def new_pages(pages: int) -> Pages:
    """Return room for so many pages, one of them the ledger."""
    heap = np.zeros(pages, PAGE)
    heap[0]["item"][_USED] = 1
    return heap


@compiled
def used_pages(pages: Pages) -> int:
    """Return the number of pages ever used: beyond them there is nothing."""
    return int64(pages[0]["item"][_USED])


@inner
def fingerprint(channel: int, item: np.uint64) -> int:
    """Return the item's 32 bits on a channel; never 0."""
    return max(int64(mix(_SALT + np.uint64(channel), item) >> _HALF), 1)


@inner
def page_of(table: Any, item: int) -> int:
    """Return the page of a table in which an item would be."""
    return int64(table["run"]) + (item & ((1 << int64(table["run_bits"])) - 1))


@inner
def find(pages: Pages, table: Any, item: int) -> int:
    """Return the place of an item (page * 16 + slot), or -1."""
    if table["run"] == 0:
        return -1
    page = page_of(table, item)
    slot = place_of(pages, page, item)
    return page * WAYS + slot if slot >= 0 else -1


@inner
def fetch_page(pages: Pages, table: Any, item: int) -> None:
    """Ask for the page in which an item would be: three lines, wherever it begins."""
    if table["run"] > 0:
        page = page_of(table, item)
        fetch(pages, page, int64(0))
        fetch(pages, page, int64(_WEIGHTS))
        fetch(pages, page, int64(_LAST))


@inner
def weight_at(pages: Pages, place: int) -> float:
    """Return the weight at a place; 0 if the place is -1."""
    return float64(pages[place // WAYS]["weight"][place % WAYS]) if place >= 0 else 0.0


@inner
def set_weight(pages: Pages, place: int, weight: float) -> None:
    """Set the weight at a place."""
    pages[place // WAYS]["weight"][place % WAYS] = weight


@inner
def note_at(pages: Pages, place: int) -> int:
    """Return the note at a place."""
    return int64(pages[place // WAYS]["note"][place % WAYS])


@inner
def set_note(pages: Pages, place: int, note: int) -> None:
    """Set the note at a place."""
    pages[place // WAYS]["note"][place % WAYS] = note


@inner
def _allocate(pages: Pages, bits: int) -> int:
    ledger = pages[0]
    run = int64(ledger["item"][bits])
    if run > 0:
        ledger["item"][bits] = pages[run]["item"][0]
    else:
        run = int64(ledger["item"][_USED])
        ledger["item"][_USED] = run + (1 << bits)
    for page in range(run, run + (1 << bits)):
        for slot in range(WAYS):
            pages[page]["item"][slot] = 0
    return run


@inner
def _free(pages: Pages, run: int, bits: int) -> None:
    ledger = pages[0]
    pages[run]["item"][0] = ledger["item"][bits]
    ledger["item"][bits] = run


@compiled
def release(pages: Pages, table: Any) -> None:
    """Give a table's pages back; the table is empty afterwards."""
    if table["run"] > 0:
        _free(pages, int64(table["run"]), int64(table["run_bits"]))
    table["run"] = 0
    table["run_bits"] = 0


@inner
def _double(pages: Pages, table: Any) -> None:
    old, bits = int64(table["run"]), int64(table["run_bits"])
    table["run"] = _allocate(pages, bits + 1)
    table["run_bits"] = bits + 1
    for page in range(old, old + (1 << bits)):
        source = pages[page]
        for slot in range(WAYS):
            item = int64(source["item"][slot])
            if item != 0:
                into = page_of(table, item)
                free = place_of(pages, into, int64(0))  # a page splits in two: there is room
                target = pages[into]
                target["item"][free] = item
                target["weight"][free] = source["weight"][slot]
                target["note"][free] = source["note"][slot]
    _free(pages, old, bits)


@inner
def reserve(pages: Pages, table: Any, bits: int) -> None:
    """Give an empty table 2**bits pages: one that is sure to grow need not be moved."""
    table["run"] = _allocate(pages, bits)
    table["run_bits"] = bits


@inner
def _lightest(page: Any) -> int:
    best = 0
    for slot in range(1, WAYS):
        if page["weight"][slot] < page["weight"][best]:
            best = slot
    return best


@inner
def add(pages: Pages, table: Any, item: int, run_bits_max: int, weight_min: float) -> int:
    """Return the place of an item, giving it one with weight 0 if it has none.

    A full table at its cap gives up its lightest item in the page, unless that weighs more
    than `weight_min`: then the new one is not admitted and the place is -1.
    """
    if table["run"] == 0:
        table["run"] = _allocate(pages, int64(0))
    place = find(pages, table, item)
    if place >= 0:
        return place
    slot = place_of(pages, page_of(table, item), int64(0))
    while slot < 0 and table["run_bits"] < run_bits_max:
        _double(pages, table)
        slot = place_of(pages, page_of(table, item), int64(0))
    page = page_of(table, item)
    if slot < 0:
        slot = _lightest(pages[page])
        if float64(pages[page]["weight"][slot]) > weight_min:
            return -1
    pages[page]["item"][slot] = item
    pages[page]["weight"][slot] = 0.0
    pages[page]["note"][slot] = 0
    return page * WAYS + slot
