"""Models as bytes and back.

Danger: river's models have no form but Python's pickle, and a pickle can name anything to be
called. What is read here may name river's and the detector's own package, the numbers and
containers they are made of, and nothing else. Only what astray has written is ever read: from
the recovery directory, which is its owner's alone.
"""

import io
import pickle
from typing import Any

from astray.errors import StateError

_PROTOCOL = 4  # that of every Python that astray runs on
_PLAIN = {
    "astray.detectors.models": {"OneFeature"},
    "builtins": {"bytearray", "complex", "dict", "float", "frozenset", "int", "list", "object",
                 "range", "set", "slice", "tuple"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "copyreg": {"_reconstructor"},
    "functools": {"partial"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "random": {"Random"},
}  # fmt: skip
_BROKEN = (
    pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError, LookupError,
    MemoryError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What reading a damaged pickle can come to."""


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, packages: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        """Return what a model is made of; refuse everything else."""
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if module.split(".", maxsplit=1)[0] not in self._packages or "." in name:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        found = super().find_class(module, name)
        if (getattr(found, "__module__", None) or module).split(".")[0] not in self._packages:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not its own")
        return found


def packed(model: Any, name: str) -> bytes:
    """Return a model as bytes.

    Raises
    ------
    StateError
        It is a detector of somebody's own that cannot be kept.
    """
    try:
        return pickle.dumps(model, _PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise StateError(f"detector {name}: what it has learnt cannot be kept: {error}") from None


def unpacked(data: bytes, name: str, packages: frozenset[str]) -> Any:
    """Return the model of `packed`; it may be made of classes of these packages.

    Raises
    ------
    StateError
        The bytes are damaged, or not a model's.
    """
    try:
        return _Reader(data, packages | {"river"}).load()
    except _BROKEN as error:
        raise StateError(f"detector {name}: what it had learnt is damaged: {error}") from None
