"""A fleet, its sessions, its events, and the attacks among them."""

from dataclasses import replace

import numpy as np

from astray.lab.simulate.attacks import attack
from astray.lab.simulate.behaviour import play
from astray.lab.simulate.fleet import build_fleet
from astray.lab.simulate.options import SimulationOptions
from astray.lab.simulate.recording import Recording, in_time_order
from astray.lab.simulate.rhythm import plan_sessions
from astray.lab.simulate.scene import Scene


def simulate(options: SimulationOptions) -> Recording:
    """Draw the recording of a fleet at work, with the truth about every session.

    >>> recording = simulate(SimulationOptions(agents=2, days=2, attacks={"mimicry": 1}))
    >>> sum(label["label"] for label in recording.labels)
    1
    """
    # A stream of random numbers each: attacks leave normal behaviour as it is.
    seeds = np.random.SeedSequence(options.seed).spawn(4)
    fleet_rng, plan_rng, play_rng, attack_rng = map(np.random.default_rng, seeds)
    fleet = build_fleet(options, fleet_rng)
    plan = plan_sessions(options, fleet, plan_rng)
    recording = play(options, plan, play_rng)
    span_ms = options.days * 86_400_000
    scene = Scene(
        recording,
        hosts=[n for n, session in enumerate(recording.sessions) if session.phase == "test"],
        test_from_ms=options.start_ms + int(np.ceil(options.warmup_share * span_ms)),
        rng=attack_rng,
        movable=True,
    )
    attack(scene, options.attacks)
    return replace(recording, columns=in_time_order(scene.columns, scene.added_columns()))
