"""What crosses from process to process, packed once.

The engine packs an item twice: to see how long it is, and to send it.
"""

import pickle
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Content = TypeVar("Content")


class Parcel(Generic[Content]):
    """Something that may cross to another process of the cluster, or stay in this one."""

    __slots__ = ("_packed", "content")

    def __init__(self, content: Content) -> None:
        self.content = content
        self._packed: bytes | None = None

    def __reduce__(self) -> "tuple[Callable[[bytes], Parcel[Content]], tuple[bytes]]":
        """Pack the content, unless that has been done."""
        if self._packed is None:
            self._packed = pickle.dumps(self.content, pickle.HIGHEST_PROTOCOL)
        return _unpacked, (self._packed,)


def _unpacked(packed: bytes) -> Parcel[Any]:
    """Return what another process of this cluster has packed."""
    return Parcel(pickle.loads(packed))  # noqa: S301 - nobody else is listened to
