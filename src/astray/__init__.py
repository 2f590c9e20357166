"""astray: learns what every agent normally does and stops the session that is not it."""

from importlib import import_module
from typing import Any

__all__ = ["Detector"]

_LATE = {"Detector": "astray.lab.detector"}
"""What is imported only when somebody asks for it: commands need not wait for river."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
