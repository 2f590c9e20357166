"""What the C library is told about memory."""

import platform
import subprocess
import sys

import pytest

_ASK = "from astray.flow.allocating import keep_freed_memory; print(keep_freed_memory())"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_glibc_takes_all_that_it_is_told():
    """A value beyond what it allows is ignored, silently unless it is asked."""
    told = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "True"
