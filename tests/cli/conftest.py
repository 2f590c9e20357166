"""What tests of commands share."""

import pytest

from astray.flow.kernels import compile_kernels


@pytest.fixture(scope="session", autouse=True)
def _compiled():
    """Compile the kernels beforehand: the first command to need them would say so."""
    compile_kernels()
