"""What tests of detectors share."""

import pytest

from offered import offering


@pytest.fixture(autouse=True)
def offered(tmp_path):
    """Have some detectors offered, as if their package were installed."""
    with offering(tmp_path):
        yield
