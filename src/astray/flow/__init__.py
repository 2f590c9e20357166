"""The dataflow: sources, steps, sinks, recovery. The only room that knows the engine."""
