"""The dataflow, on one screen.

    read ──► decode ──► route ──► assess ──► decide ──► record
               └──► reject

Live and replay differ in the source and in the last step only.
"""

from functools import partial

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from astray.decide.decider import Ruling
from astray.events import Chunk, Reject
from astray.flow.steps import (
    ASSESS,
    DECIDE,
    DECODE,
    READ,
    RECORD,
    REJECT,
    ROUTE,
    Assess,
    Context,
    Decide,
    Route,
    Stop,
    decode_step,
    notices_of,
    rejects_of,
    without_shard,
)

FLOW = "astray"


def build_flow(
    context: Context,
    source: Source[Chunk],
    record: Sink[tuple[str, Ruling]],
    reject: Sink[tuple[str, tuple[str, Reject]]],
) -> Dataflow:
    """Return the dataflow from a source of chunks to where rulings and rejects go."""
    flow = Dataflow(FLOW)
    chunks = op.input(READ, flow, source)
    if context.stop is not None:
        notices = op.flat_map("notices", chunks, notices_of)
        op.stateful_batch("stop", notices, partial(Stop, context.stop))
    decoded = op.flat_map_batch(DECODE, chunks, partial(decode_step, context))
    op.output(REJECT, op.flat_map("rejects", decoded, rejects_of), reject)
    parts = op.flat_map_batch(ROUTE, decoded, Route(context.config))
    assessed = op.stateful_batch(ASSESS, parts, partial(Assess, context))
    records = op.flat_map_batch("by_tenant", assessed, without_shard)
    rulings = op.stateful_batch(DECIDE, records, partial(Decide, context))
    op.output(RECORD, rulings, record)
    return flow
