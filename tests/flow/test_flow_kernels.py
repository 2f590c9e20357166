"""What is compiled before a run is all that the run needs."""

import subprocess
import sys

from running import attacked_fleet

_SCRIPT = """
import sys
from numba.core.dispatcher import Dispatcher
from astray.config import load_config
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.kernels import compile_kernels
from astray.flow.reading import Reading
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Sources
from astray.flow.steps import Context

def compiled():
    rooms = [vars(module) for name, module in list(sys.modules.items()) if "astray" in name]
    kernels = {k for room in rooms for k in room.values() if isinstance(k, Dispatcher)}
    return {f"{k.__module__}.{k.__name__}: {signature}" for k in kernels for signature in k.signatures}

compile_kernels()
before, path = compiled(), sys.argv[1]
context = Context(load_config(), [path], Counters(), durable=True)
sources, sink = Sources([path], Reading()), Calling(Collector())
run_flow(build_flow(context, sources, sink, RejectsFile(None)), 0.5)
assert len(before) > 10 and context.counters.events > 1000
print(*sorted(compiled() - before), sep="\\n")
"""


def test_nothing_is_compiled_while_a_stream_runs(tmp_path):
    """Whatever a stream with sessions, experts, silences and snapshots calls has been compiled.

    Else the first events of a new installation would wait for seconds in the middle of it.
    """
    path = tmp_path / "events.jsonl"
    path.write_bytes(attacked_fleet(tmp_path))

    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, path], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []
