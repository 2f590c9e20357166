"""MIDAS-R: bursts of something that is counted, against its own history, in bounded memory."""

import math
import struct
from hashlib import blake2b

import numpy as np

_PARTS = 3
_LOG_MOST = math.log1p(1e9)
_HASH_BYTES = 8
_SEED_MOST = 1 << 63
_SEED, _PAIR, _NODE = struct.Struct("<q"), struct.Struct("<dd"), struct.Struct("<d")


class MidasR:
    """The largest excess of a pair, its source and its target in a tick over all ticks before.

    Bhatia et al., "MIDAS: Microcluster-Based Detector of Anomalies in Edge Streams", 2020: counts
    of everything, and counts that fade from tick to tick, in count-min sketches; the excess is a
    chi-squared statistic, here its logarithm, from 0 to 1. What comes late belongs to the tick
    that there is; scoring counts what it scores, as in the original, and learns nothing by that.

    Finds the same pair, source or target again and again within few ticks. Fails where a burst
    is over before it has been learnt: a session is learnt at the turn of its window, so a flood
    of an hour is seen in the hour after. What shares a cell of every row is counted together.

    >>> midas = MidasR()
    >>> usual = [{"agent": 1.0, "group": 9.0, "hour": float(hour)} for hour in range(50)]
    >>> for session in usual + 30 * usual[-1:]:
    ...     midas.learn_one(session)
    >>> round(midas.score_one({"agent": 1.0, "group": 9.0, "hour": 50.0}), 3)
    0.243
    >>> round(midas.score_one({"agent": 2.0, "group": 8.0, "hour": 50.0}), 3)  # for being new
    0.19
    """

    features_default = ("agent", "group", "hour")
    """What it looks at where the configuration does not say."""

    def __init__(
        self,
        source: str = "agent",
        target: str = "group",
        tick: str = "hour",
        rows: int = 2,
        buckets: int = 1024,
        decay: float = 0.5,
        seed: int = 7,
    ) -> None:
        if not (1 <= rows <= 8 and 2 <= buckets <= 1 << 16):
            raise ValueError(f"rows must be 1 to 8, buckets 2 to 65536, got {rows}, {buckets}")
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        if not (isinstance(seed, int) and -_SEED_MOST <= seed < _SEED_MOST):
            raise ValueError(f"seed must be a whole number of 64 bits, got {seed}")
        self.source = source
        self.target = target
        self.tick = tick
        self.rows = rows
        self.buckets = buckets
        self.decay = decay
        self.seed = seed
        self._total = np.zeros(_PARTS * rows * buckets)
        self._recent = np.zeros(_PARTS * rows * buckets)
        self._first = self._now = math.nan

    def score_one(self, x: dict[str, float]) -> float:
        """Return the largest excess of what a session is of, itself included."""
        tick = math.floor(x[self.tick])
        fading, ticks = 1.0, 1.0
        if not math.isnan(self._now):
            fading = self.decay ** max(tick - self._now, 0.0)
            ticks = max(tick, self._now) - self._first + 1.0
        recent, total = self._recent.item, self._total.item
        most = max(
            _excess(min(map(recent, cells)) * fading + 1.0, min(map(total, cells)) + 1.0, ticks)
            for cells in self._cells(x)
        )
        return min(math.log1p(most) / _LOG_MOST, 1.0)

    def learn_one(self, x: dict[str, float]) -> None:
        """Count a session."""
        tick = math.floor(x[self.tick])
        if math.isnan(self._now):
            self._first = self._now = float(tick)
        if tick > self._now:
            self._recent *= self.decay ** (tick - self._now)
            self._now = float(tick)
        for cells in self._cells(x):
            for cell in cells:
                self._recent[cell] += 1.0
                self._total[cell] += 1.0

    def _cells(self, x: dict[str, float]) -> list[list[int]]:
        """Return the cells of pair, source and target, one in every row of their sketches."""
        source, target = x[self.source], x[self.target]
        names = (_PAIR.pack(source, target), _NODE.pack(source), _NODE.pack(target))
        return [self._cells_of(part, name) for part, name in enumerate(names)]

    def _cells_of(self, part: int, name: bytes) -> list[int]:
        size, seed = _HASH_BYTES * self.rows, _SEED.pack(self.seed)
        hashes = struct.unpack(f"<{self.rows}Q", blake2b(name, digest_size=size, key=seed).digest())
        first = part * self.rows
        return [(first + row) * self.buckets + one % self.buckets for row, one in enumerate(hashes)]


def _excess(recent: float, total: float, ticks: float) -> float:
    """Return by how much the recent count exceeds what the total makes usual.

    >>> _excess(5.0, 10.0, 2.0), _excess(1.0, 10.0, 10.0), _excess(9.0, 10.0, 10.0)
    (0.0, 0.0, 71.11111111111111)
    """
    if ticks <= 1.0 or recent <= total / ticks:
        return 0.0
    return (recent - total / ticks) ** 2 * ticks * ticks / (total * (ticks - 1.0))
