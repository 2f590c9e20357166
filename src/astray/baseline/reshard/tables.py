"""Tables taken out of one shard's pages and put into another's."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import SCRIPT
from astray.baseline.pages import PAGE, WAYS, Pages, new_pages


class Items(NamedTuple):
    """What is in a table."""

    item: NDArray[np.uint32]
    weight: NDArray[np.float32]
    note: NDArray[np.uint8]

    @classmethod
    def of(cls, pages: Pages, table: Any) -> Self:
        """Return what is in the table of an owner or session."""
        run, size = int(table["run"]), (1 << int(table["run_bits"])) if table["run"] > 0 else 0
        found = pages[run : run + size]
        used = found["item"] != 0
        return cls(found["item"][used], found["weight"][used], found["note"][used])

    def only(self, places: NDArray[Any]) -> "Items":
        """Return the items at these places."""
        return Items(self.item[places], self.weight[places], self.note[places])

    def table(self, bits_max: int) -> Pages:
        """Return the smallest table that has all of it; at the cap the lightest stay out."""
        bits = 0
        while bits < bits_max and self._most_in_a_page(bits) > WAYS:
            bits += 1
        page = self.item & np.uint32((1 << bits) - 1)
        order = np.lexsort((self.item, -self.weight, page))
        first = np.searchsorted(page[order], page[order])
        slot = np.arange(len(order)) - first
        order, slot = order[slot < WAYS], slot[slot < WAYS]
        pages = np.zeros(1 << bits, PAGE)
        for name in self._fields:
            pages[name][page[order], slot] = getattr(self, name)[order]
        return pages

    def _most_in_a_page(self, bits: int) -> int:
        page = self.item & np.uint32((1 << bits) - 1)
        return int(np.bincount(page).max(initial=0))


def together(tables: Sequence[Items]) -> Items:
    """Return the items of tables, one after the other."""
    item, weight, note = (np.concatenate(column) for column in zip(*tables, strict=True))
    return Items(item, weight, note)


class Heap:
    """Tables one after the other, as the pages of a new shard."""

    def __init__(self) -> None:
        self._pieces = [new_pages(1)]
        self._used = 1

    def put(self, table: Pages) -> int:
        """Take a table, or several; return where the first begins."""
        first = self._used
        self._pieces.append(table)
        self._used += len(table)
        return first

    def put_table(self, owner: Any, table: Pages) -> None:
        """Take the table of an owner or session, which is told where it is."""
        owner["run"] = self.put(table) if len(table) else 0
        owner["run_bits"] = max(len(table).bit_length() - 1, 0)

    def put_tables(self, rows: NDArray[Any], pages: Pages) -> None:
        """Take the tables of many rows out of their pages, byte for byte, and tell the rows."""
        sizes = np.where(rows["run"] > 0, 1 << rows["run_bits"].astype(np.int64), 0)
        firsts = np.cumsum(sizes) - sizes
        within = np.arange(sizes.sum()) - np.repeat(firsts, sizes)
        run = self.put(pages[np.repeat(rows["run"], sizes) + within])
        rows["run"] = np.where(sizes > 0, run + firsts, 0)

    def pages(self) -> Pages:
        """Return all pages."""
        whole = np.concatenate(self._pieces)
        whole[0]["item"][WAYS - 1] = len(whole)
        return whole


class Scripts:
    """What open sessions did that are rehearsed on, as a new shard has it."""

    def __init__(self) -> None:
        self._pieces = [np.zeros(1, SCRIPT)]
        self._used = 1

    def put(self, sessions: NDArray[Any], scripts: NDArray[Any]) -> None:
        """Take the scripts of sessions, which are told where they are."""
        having = np.flatnonzero(sessions["script"] > 0)
        self._pieces.append(scripts[sessions["script"][having]])
        sessions["script"][having] = np.arange(self._used, self._used + len(having))
        self._used += len(having)

    def put_one(self, session: Any, scripts: NDArray[Any]) -> None:
        """Take the script of a session, if it has one."""
        if (row := int(session["script"])) > 0:
            self._pieces.append(scripts[row : row + 1])
            session["script"] = self._used
            self._used += 1

    def rows(self) -> NDArray[Any]:
        """Return all of them, with the template before them."""
        return np.concatenate(self._pieces)
