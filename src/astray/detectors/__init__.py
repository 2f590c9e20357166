"""Detectors of one's own: river's, or any class with `score_one` and `learn_one`."""
