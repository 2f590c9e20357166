"""State of every version that is read: this one goes on from it with what it had learnt."""

import dataclasses
import gzip

import numpy as np
import pytest

from astray import blob
from astray.baseline.layout import CALLEES, STATISTICS
from astray.baseline.pages import NOTE_MAX
from astray.baseline.shard import Shard
from astray.blob import OLDEST_VERSION, SCHEMA_VERSION
from astray.decide.decider import Decider
from core import SOURCE, Core, feed, lowest_limits, shard_settings
from golden.making import AGENTS, DAYS, GOLDEN, golden_config, usual

_LATER = [
    event
    for day in range(DAYS + 1, DAYS + 6)
    for agent in range(AGENTS)
    for event in usual(agent, day)
]
VERSIONS = pytest.mark.parametrize("version", range(OLDEST_VERSION, SCHEMA_VERSION + 1))


def restored(version):
    """Return a core that goes on from the golden state of a version."""
    shard, decider = (
        gzip.decompress((GOLDEN / f"{version}-{name}.gz").read_bytes())
        for name in ("shard", "decider")
    )
    config = golden_config()
    core = Core(config)
    core.shards = [Shard.load(shard, shard_settings(config, lowest_limits(config)), (SOURCE,))]
    core.decider = Decider.load(decider, config)
    return core


def n_by_session(core, events):
    """Return the largest n of the sessions that end, by when they began."""
    found = {}
    for ruling in core.feed(events, batch=50):
        for rows in ruling.scored:
            for row in rows:
                start_us = int(row["start_us"])
                found[start_us] = max(float(row["n"]), found.get(start_us, 1.0))
    return found


def odd(day):
    """Return a session like no other of its agent."""
    return [
        dataclasses.replace(event, action="destroy", resources=(f"vault/{step}",), source="there")
        for step, event in enumerate(usual(3, day))
    ]


@VERSIONS
def test_what_was_learnt_is_known(version):
    """Usual sessions stay calm, those left open too, and an odd one is the oddest."""
    core = restored(version)
    strange = odd(DAYS + 6)

    found = n_by_session(core, [*_LATER, *strange, *usual(0, DAYS + 9)])

    calm = [n for start_us, n in found.items() if start_us != strange[0].ts_us]
    assert len(calm) > 5 * AGENTS
    assert np.quantile(calm, 0.9) < 30.0
    assert found[strange[0].ts_us] == max(found.values()) >= 100.0


@VERSIONS
def test_experts_judge_at_once(version):
    """Those that an older version taught are taught anew from the same past."""
    (reference,) = restored(version).decider._references.values()

    taught = [age.fusion.experts.are_taught for age in reference._ages]

    assert taught == [False, True, False]
    assert [len(age.past) > 0 for age in reference._ages] == [True, True, True]


@VERSIONS
def test_what_an_older_version_did_not_count_is_not_odd(version):
    """An agent that has always called others is no odder for it after an upgrade."""
    core = restored(version)
    statistic = STATISTICS.index("callees")

    records = feed(core.shards[0], [*_LATER, *usual(0, DAYS + 9)], batch=50)
    rows = np.concatenate([some.rows for some in records])

    ended = rows[rows["row"] == -1]
    assert len(ended) > 5 * AGENTS
    assert np.isfinite(ended["statistic"]).all()
    assert ended["statistic"][:, statistic].max() < 4.0
    assert (ended["total"][ended["start_us"] >= _LATER[0].ts_us, CALLEES] == 1).all()


@VERSIONS
def test_it_is_written_in_todays_version(version):
    """And read again, with nothing lost on the way."""
    core = restored(version)

    shard, decider = core.dump()

    again = Core(core.config)
    settings = shard_settings(core.config, lowest_limits(core.config))
    again.shards = [Shard.load(shard, settings, (SOURCE,))]
    again.decider = Decider.load(decider, core.config)
    assert again.dump() == [shard, decider]
    assert {int.from_bytes(state[8:12], "little") for state in (shard, decider)} == {SCHEMA_VERSION}


@pytest.mark.parametrize("version", [8, 9])
def test_notes_of_sixteen_bits_are_read(version):
    """What an item is told by stays: its channel, whether it is excused; a day does not fit."""
    dumped = gzip.decompress((GOLDEN / f"{version}-shard.gz").read_bytes())
    before = blob.unpack(dumped, "shard")[1]["pages"]
    pages = restored(version).shards[0].memory.pages[: len(before)]

    kept = before["note"] <= NOTE_MAX
    assert (pages["item"] == before["item"]).all()
    assert (pages["weight"] == before["weight"]).all()
    assert (pages["note"] == np.where(kept, before["note"], 0)).all()
    assert (before["note"][~kept] > 10_000).any()  # days
    assert len(np.unique(before["note"][kept])) > 5  # channels
