"""Names behind the ids of what an alarm may speak of: the core knows ids, people want names."""

from collections.abc import Iterable, Iterator

import numpy as np
import orjson
from numpy.typing import NDArray


class KnownNames:
    """Tenants and names by id; whoever has it says how many there may be."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, str]] = {}
        self._dumped: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, key: int) -> bool:
        return key in self._of

    def __iter__(self) -> Iterator[int]:
        return iter(self._of)

    def __getitem__(self, key: int) -> tuple[str, str]:
        """Return a tenant and a name."""
        return self._of[key]

    def put(self, key: int, tenant: str, name: str) -> None:
        """Remember a name."""
        self._of[key] = tenant, name
        self._dumped = None

    def drop(self, keys: Iterable[int]) -> None:
        """Forget names that are known."""
        for key in keys:
            del self._of[key]
        self._dumped = None

    def drop_others(self, keys: Iterable[int]) -> None:
        """Forget all names but these."""
        self.drop(self._of.keys() - set(keys))

    def dump(self) -> NDArray[np.uint8]:
        """Return the names as bytes; they change seldom, and there may be many."""
        if self._dumped is None:
            names = [(key, *self._of[key]) for key in sorted(self._of)]
            self._dumped = np.frombuffer(orjson.dumps(names), np.uint8)
        return self._dumped

    def load(self, dumped: NDArray[np.uint8]) -> None:
        """Take the names of a dump."""
        self._of = {key: (tenant, name) for key, tenant, name in orjson.loads(dumped.tobytes())}
        self._dumped = None
