"""The bench that proves detection: recordings, a run of the core, measures, targets, a card."""
