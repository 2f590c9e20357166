"""Writing TOML, which Python only reads."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any

import orjson

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(table: Mapping[str, Any]) -> str:
    """Return a table as a TOML document that reads as the same table.

    >>> print(toml_of({"baseline": {"half_life_days": 21.0}}), end="")
    [baseline]
    half_life_days = 21.0
    """
    return "\n".join(_lines(table, ())).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, Mapping) and not _are_tables(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        inner = (*path, key)
        name = ".".join(map(_key, inner))
        if isinstance(value, Mapping):
            yield f"\n[{name}]"
            yield from _lines(value, inner)
        elif _are_tables(value):
            yield from _tables(value, inner, name)


def _tables(tables: list[Mapping[str, Any]], path: tuple[str, ...], name: str) -> Iterator[str]:
    for table in tables:
        yield f"\n[[{name}]]"
        yield from _lines(table, path)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    return orjson.dumps(text).decode().replace("\x7f", "\\u007F")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())} }}"
    if isinstance(value, date | time):
        return value.isoformat()
    return repr(value)
