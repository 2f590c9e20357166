"""Columns with names, for notebooks: numpy arrays first, other libraries where they are there."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

from numpy.typing import NDArray

from astray.errors import ConfigError


class Table(Mapping[str, NDArray[Any]]):
    """Columns of one length.

    >>> import numpy as np
    >>> table = Table({"agent": np.array(["a", "b"]), "score": np.array([10.0, 70.0])})
    >>> table
    Table(2 rows: agent, score)
    >>> table.where(table["score"] > 60)["agent"].tolist()
    ['b']

    Raises
    ------
    ValueError
        Columns of different lengths.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = dict(columns)
        lengths = {len(column) for column in self._columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")
        self.rows = lengths.pop() if lengths else 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"Table({self.rows:,} rows: {', '.join(self._columns)})"

    def where(self, rows: NDArray[Any]) -> Self:
        """Return the rows that are flagged, or those at these places."""
        return type(self)({name: column[rows] for name, column in self._columns.items()})

    def by(self, name: str, *, falling: bool = True) -> Self:
        """Return the rows in the order of a column; equals stay in their order."""
        order = self._columns[name].argsort(kind="stable")
        if falling:
            order = (self.rows - 1 - self._columns[name][::-1].argsort(kind="stable"))[::-1]
        return self.where(order)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, where pandas is installed."""
        return _library("pandas").DataFrame(self._columns)

    def to_polars(self) -> Any:
        """Return a polars DataFrame, where polars is installed."""
        polars = _library("polars")
        columns = {
            name: column.tolist() if column.dtype == object else column
            for name, column in self._columns.items()
        }
        return polars.DataFrame(columns, strict=False)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError([f"{name} is not installed: pip install 'astray[lab]'"]) from None
