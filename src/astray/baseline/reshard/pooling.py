"""What agents share, divided anew: groups and fleets, and the ranking of sessions.

A group that comes to one shard as a whole comes as it is. What lies in parts in several shards
is pooled, and for each kind of number there is one right way:

- Sums (how much was drawn, how much of it was new, masses, sessions) are divided by the share
  of the agents that move, and added where they meet. So they stay what they are over the whole
  fleet, and so do all rates and shares, which are ratios of them. Means and variances are
  merged with these weights.
- An item is known or it is not: that is a fact, not a quantity, and half of it would make what
  the fleet has done into something nobody ever did. So an item is as well known in the new
  shard as where it was known best. Copies that meet again are one.
- How common an item is among peers is a sum again.
- The ranking is what its sessions say of rarity, mixed in the shares of the agents; it has as
  many sessions as the largest of those it is made of. So it is neither blunter than it was,
  which would hide odd sessions from an agent's shard, nor sharper than what has been counted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import OWNER
from astray.baseline.learning import MASS_MASK
from astray.baseline.memory import Memory
from astray.baseline.ranking import Tally
from astray.baseline.reshard.tables import Items

_SUMS = ("draws", "news", "child_draws", "child_news", "mass")


class Piece(NamedTuple):
    """A share of a row of groups in a shard."""

    memory: Memory
    row: int
    share: float

    @property
    def owner(self) -> Any:
        """The row as it is."""
        return self.memory.groups[self.row]


def pooled_owner(pieces: Sequence[Piece]) -> NDArray[Any]:
    """Return a row of groups made of pieces, without parent and table."""
    owner = np.zeros(1, OWNER)[0]
    owner["key"] = pieces[0].owner["key"]
    for piece in pieces:
        for name in _SUMS:
            owner[name] += piece.owner[name] * piece.share
    pool_totals(owner, [piece.owner for piece in pieces], [piece.share for piece in pieces])
    return owner


def pool_totals(owner: Any, parts: Sequence[Any], shares: Sequence[float]) -> None:
    """Give an owner the moments of parts (Chan et al., 1979)."""
    weights = np.array([part["totals"] for part in parts], np.float64) * shares
    if not weights.sum() > 0.0:
        return
    means = np.array([part["mean"] for part in parts], np.float64)
    squares = np.array([part["square"] for part in parts], np.float64)
    mean = weights @ means / weights.sum()
    owner["totals"], owner["mean"] = weights.sum(), mean
    silences = np.array([part["child_silence"] for part in parts], np.float64)
    owner["child_silence"] = weights @ silences / weights.sum()
    owner["square"] = np.array(shares) @ squares + weights @ (means - mean) ** 2


def pooled_items(pieces: Sequence[Piece]) -> Items:
    """Return what the table of a row of groups made of pieces has in it."""
    found = [Items.of(piece.memory.pages, piece.owner) for piece in pieces]
    distinct, places = np.unique(np.concatenate([f.item for f in found]), return_inverse=True)
    known, mass = np.zeros(len(distinct), np.float32), np.zeros(len(distinct), np.float64)
    first = 0
    for piece, items in zip(pieces, found, strict=True):
        place = places[first : first + len(items.item)]
        first += len(place)
        summed = _is_mass(piece, items)
        mass[place[summed]] += items.weight[summed] * piece.share
        known[place[~summed]] = np.maximum(known[place[~summed]], items.weight[~summed])
    weight = np.maximum(known, mass.astype(np.float32))
    return Items(distinct, weight, np.zeros(len(distinct), np.uint16))


def _is_mass(piece: Piece, items: Items) -> NDArray[np.bool_]:
    """Return which items of a group say how common another one is, rather than that it is known.

    What a group knows its fleet knows. Where the fleet has lost it, that an item is known
    weighs at most as much as how common it is.
    """
    groups = piece.memory.groups
    fleet_row = int(piece.owner["parent"])
    if fleet_row == piece.row and not piece.owner["mass"].any():
        return np.zeros(len(items.item), np.bool_)
    fleet = Items.of(piece.memory.pages, groups[fleet_row]).item
    other = items.item ^ np.uint32(MASS_MASK)
    known, other_known = np.isin(items.item, fleet), np.isin(other, fleet)
    order = np.argsort(items.item)
    at = np.searchsorted(items.item, other, sorter=order) % max(len(order), 1)
    there = items.item[order[at]] == other
    weight = np.where(there, items.weight[order[at]], np.inf)
    heavier = (items.weight > weight) | ((items.weight == weight) & (items.item > other))
    return np.where(known == other_known, heavier, other_known)


def pooled_ranking(tallies: Sequence[Tally], shares: Sequence[float]) -> Tally:
    """Return the counts of past sessions made of shares of several shards' counts."""
    fed = [(tally, share) for tally, share in zip(tallies, shares, strict=True) if share > 0]
    if len(fed) == 1:
        return fed[0][0].copy()
    mixed = np.sum([tally * share for tally, share in fed], axis=0)
    sizes = np.max([tally[:, -1].sum(axis=1) for tally, _ in fed], axis=0)
    pooled = np.zeros_like(tallies[0])
    for age, size in enumerate(sizes.tolist()):
        for row, counts in enumerate(mixed[age]):
            pooled[age, row] = _rounded(counts, size)
    return pooled


def _rounded(counts: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Return whole counts in these proportions that add up to a size."""
    if not counts.sum() > 0:
        return np.zeros(len(counts), np.int64)
    reaching = np.rint(np.cumsum(counts) * (size / counts.sum())).astype(np.int64)
    return np.diff(reaching, prepend=0)
