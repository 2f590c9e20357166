"""River's detectors over what somebody would take from an event by hand."""

import math
from typing import Any

from river import anomaly, preprocessing

from astray.events import Event
from baselines.counting import BackOff, levels

_BITS_MAX = 24.0
_SIZE_MAX = 32.0
_GAP_MAX = 20.0
_DAY_US = 86_400_000_000
_SEED = 7


class Features:
    """An event in eight numbers from 0 to 1: size, pause, hour, outcome, four rarities."""

    def __init__(self) -> None:
        self._rarities = {name: BackOff() for name in ("action", "step", "resource", "source")}
        self._before: dict[tuple[str, str], tuple[str, int]] = {}

    def of(self, event: Event) -> dict[str, float]:
        """Return the numbers of an event by what was learnt before it."""
        _, before_us = self._before.get((event.agent, event.session), ("", event.ts_us))
        gap = math.log2(1.0 + max(event.ts_us - before_us, 0) / 1e6)
        contexts = levels(event)
        rare = {
            name: min(self._rarities[name].bits(contexts, item) / _BITS_MAX, 1.0)
            for name, item in self._items(event).items()
        }
        return rare | {
            "size": min(math.log2(1.0 + event.bytes) / _SIZE_MAX, 1.0),
            "gap": min(gap / _GAP_MAX, 1.0),
            "hour": event.ts_us % _DAY_US / _DAY_US,
            "failed": float(event.outcome in ("failure", "denied")),
        }

    def learn(self, event: Event) -> None:
        """Count what rarities are made of."""
        contexts = levels(event)
        for name, item in self._items(event).items():
            self._rarities[name].learn(contexts, item)
        self._before[event.agent, event.session] = (event.action, event.ts_us)

    def _items(self, event: Event) -> dict[str, str]:
        before, _ = self._before.get((event.agent, event.session), ("", 0))
        return {
            "action": event.action,
            "step": f"{before}>{event.action}",
            "resource": event.resources[0] if event.resources else "",
            "source": event.source,
        }


class _RiverModel:
    """A model of river's over the features of an event."""

    def __init__(self, model: Any) -> None:
        self._features = Features()
        self._model = model

    def score_one(self, event: Event) -> float:
        """Return what the model says of an event."""
        return float(self._model.score_one(self._features.of(event)))

    def learn_one(self, event: Event) -> None:
        """Show the model an event."""
        self._model.learn_one(self._features.of(event))
        self._features.learn(event)


class HalfSpaceForest(_RiverModel):
    """Half-space trees (Tan et al., 2011), river's kin of the isolation forest, at its defaults.

    Few features decide in few cuts: what is new in name only looks like all that is rare.
    """

    def __init__(self) -> None:
        super().__init__(anomaly.HalfSpaceTrees(seed=_SEED))


class OneClassMachine(_RiverModel):
    """A one-class SVM by stochastic gradient descent, behind a scaler, at river's defaults.

    Linear: what is odd must lie in one direction.
    """

    def __init__(self) -> None:
        super().__init__(preprocessing.StandardScaler() | anomaly.OneClassSVM())
