"""A simulated fleet with attacks in it, and attacks put into recordings that exist.

Everything follows from a seed: equal options give byte-identical files.
"""

from astray.lab.simulate.attacks import ATTACKS
from astray.lab.simulate.generate import simulate
from astray.lab.simulate.inject import inject
from astray.lab.simulate.options import SimulationOptions, parse_attacks
from astray.lab.simulate.recording import Recording, write

__all__ = [
    "ATTACKS",
    "Recording",
    "SimulationOptions",
    "inject",
    "parse_attacks",
    "simulate",
    "write",
]
