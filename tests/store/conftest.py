"""Stores on both databases."""

from collections.abc import Iterator

import pytest

from astray.store import Store
from databases import address, postgres  # noqa: F401 - fixtures


@pytest.fixture
def store(address: str) -> Iterator[Store]:  # noqa: F811 - the fixture
    """Return an empty store."""
    with Store.open(address) as store:
        yield store
