"""What others would use: simple and published stream detectors, the yardsticks of detection.

Each scores an event from what it has learnt before, then learns it. None has a label, a unit
or a threshold; each is given the aggregation over a session that suits it best.
"""
