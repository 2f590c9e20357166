"""What many do at once is told of once, if it is not what they always do."""

import numpy as np
import pytest

from astray.baseline.activity import Activity
from astray.baseline.records import Records
from astray.baseline.swarms import SWARM, Swarming
from astray.config import load_config
from astray.decide import floods as module
from astray.decide.floods import AT_ONCE_MAX, DAYS, KINS_MAX, SWARMS_MAX, TENANTS_MAX, Floods
from astray.events import Event, Lines, encode_event
from astray.events.ids import stable_id
from core import decoded
from made import DAY_US, HOUR_US, START_US

FIRST_US = START_US - START_US % (28 * DAY_US) - 140 * DAY_US  # a block begins


def config(**flood):
    """Return a configuration that looks at once."""
    return load_config(overrides={"flood": {"learn_days": 0.0, **flood}})


class Fleet:
    """Shards whose agents do what one says; `reviews` is all that was asked for, by hour."""

    def __init__(self, floods=None, **flood):
        self.floods = floods or Floods(config(**flood))
        self.hour = 0
        self.reviews = []
        self._activity = Activity()
        self.enter()

    @property
    def now_us(self):
        """The first moment of the window."""
        return FIRST_US + self.hour * HOUR_US

    def enter(self, hours=1):
        """Let windows turn."""
        for _ in range(hours):
            self.hour += 1
            self.take(self.floods.turn(self.now_us))
            self.show("")

    def show(self, tenant):
        """Let somebody of a tenant be there."""
        chunk = decoded([Event(self.now_us, "somebody", "live", tenant=tenant)])
        shown = self._activity.shown(chunk, np.arange(1), self.now_us)
        if shown is not None:
            self.floods.show(self.now_us, shown)

    def did(self, agents, action="read", resource="", shard=0, tenant="", ahead=0, like=""):
        """Let so many agents have done something; it looks like `like`, or only like itself."""
        row = np.zeros(1, SWARM)
        row["tenant"] = stable_id(tenant) if tenant else 0
        row["done"] = stable_id(f"{tenant}/{action}")
        row["key"] = stable_id(f"{tenant}/{action}/{resource}") if resource else row["done"]
        row["kin"] = stable_id(f"{tenant}/{action}/{like or resource}") if resource else row["done"]
        row["place"] = 0 if resource else -1
        row["agents"] = agents
        resources = (resource,) if resource else ()
        line = encode_event(Event(self.now_us, "x", action, resources=resources, tenant=tenant))
        told = Swarming(row, Lines.of([line]))
        rows = np.zeros(0)
        window_us = self.now_us + ahead * HOUR_US
        records = Records(shard, window_us, rows, (), (), swarming=told)
        self.take(self.floods.tell(records))

    def take(self, reviews):
        """Remember what is asked for."""
        self.reviews += [(self.hour, review) for review in reviews]

    def lost(self):
        """Return what there was no room for, by its bound."""
        return {why: count for why, count in self.floods.lost.items() if count}

    def told(self):
        """Return what was told of: the hour, what, how many, and how many are usual."""
        return [
            (hour, f"{review.action} {review.resource}".strip(), review.count, review.usual)
            for hour, review in self.reviews
        ]


def test_many_at_once_are_told_of_once():
    """At least so many; as they become more in the same hour, nobody is told again."""
    fleet = Fleet()

    for agents in (8, 16, 32, 64, 128):
        fleet.did(agents, "pay", "IBAN-1")

    assert fleet.told() == [(1, "pay IBAN-1", 32, 0)]
    _, review = fleet.reviews[0]
    assert review.sentence == (
        "At least 32 agents did pay on IBAN-1 since 2026-07-02T01:00:00.000Z, among them x; "
        "usual are too few to be counted"
    )
    assert review.title == "Review 32 agents that do the same at once: pay on IBAN-1"
    assert (review.agent, review.ts_us) == ("", fleet.now_us)


def test_shards_count_together():
    """No shard has all of it."""
    fleet = Fleet()

    for shard in range(4):
        assert fleet.told() == []
        fleet.did(8, shard=shard)

    assert fleet.told() == [(1, "read", 32, 0)]


def test_a_count_that_is_told_again_is_no_larger():
    """A shard tells how many there are, not how many more; after a crash it may do so twice."""
    fleet = Fleet()

    for agents in (8, 16, 16, 16, 8):
        fleet.did(agents)

    assert fleet.told() == []


def test_what_there_has_been_on_several_days_is_usual():
    """A flood of yesterday hides none of today; what comes every day is told of no more."""
    fleet = Fleet()

    for _ in range(DAYS + 3):
        fleet.did(64)
        fleet.enter(24)
    fleet.did(128)
    fleet.enter()
    fleet.did(256)

    days = [hour // 24 for hour, *_ in fleet.told()]
    assert days == [*range(DAYS), DAYS + 3]
    assert fleet.told()[-1][1:] == ("read", 256, 64)


def test_the_report_of_the_day_is_new_every_day():
    """It looks like that of yesterday, which everybody has read as well."""
    fleet = Fleet()

    for day in range(10):
        fleet.did(64, "read", f"/report-{day}", like="/report-*")
        fleet.enter(24)
    fleet.did(64, "read", "/secrets")

    told = [what for _, what, *_ in fleet.told()]
    assert told == ["read /report-0", "read /report-1", "read /report-2", "read /secrets"]


def test_one_a_day_unless_it_is_far_larger():
    """Whatever it is done to: what goes on for hours is one flood."""
    fleet = Fleet()

    fleet.did(32, "pay", "IBAN-1")
    fleet.did(64, "pay", "IBAN-2")
    fleet.enter()
    fleet.did(128, "pay", "IBAN-3")
    fleet.enter()
    fleet.did(512, "pay", "IBAN-4")
    fleet.enter(24)
    fleet.did(32, "pay", "IBAN-5")

    assert fleet.told() == [
        (1, "pay IBAN-1", 32, 0),
        (3, "pay IBAN-4", 256, 0),
        (27, "pay IBAN-5", 32, 0),
    ]


@pytest.mark.parametrize(("weeks", "cases"), [(4, 0), (5, 0), (8, 1), (12, 1)])
def test_what_was_usual_weeks_ago_is_usual_no_more(weeks, cases):
    """Days count for four to eight weeks."""
    fleet = Fleet()
    for _ in range(DAYS):
        fleet.did(64)
        fleet.enter(24)
    fleet.reviews.clear()

    fleet.enter(24 * 7 * weeks)
    fleet.did(64)

    assert len(fleet.reviews) == cases


def test_a_tenant_is_watched_before_anything_is_told():
    """What happens once a week is new the first time; another tenant has its own first day."""
    fleet = Fleet(learn_days=7.0)

    fleet.did(64)
    fleet.enter(24 * 7)
    fleet.did(64, "write")
    fleet.show("young")
    fleet.did(64, "write", tenant="young")
    fleet.did(64, "write", tenant="unseen")

    assert fleet.told() == [(24 * 7 + 1, "write", 32, 0)]


def test_a_window_that_others_have_yet_to_reach_waits():
    """A shard may be ahead; what it tells is counted when all are there."""
    fleet = Fleet()

    fleet.did(16, shard=0, ahead=1)
    fleet.did(16, shard=1)
    fleet.enter()
    fleet.did(16, shard=1)

    assert fleet.told() == [(2, "read", 32, 0)]


def test_tenants_do_not_add_up():
    """Two tenants with half of a flood each have none."""
    fleet = Fleet()
    fleet.show("a")

    fleet.did(16, tenant="")
    fleet.did(16, tenant="a")

    assert fleet.told() == []


def test_of_many_floods_at_once_some_have_a_case():
    """A tenant's first ones; the next window has room again, and another tenant its own."""
    fleet = Fleet()
    fleet.show("a")

    for agents in (64, 128):
        for number in range(AT_ONCE_MAX + 5):
            fleet.did(agents, f"do-{number}")
    fleet.did(64, tenant="a")
    fleet.enter()
    fleet.did(64, "more")

    assert len(fleet.reviews) == AT_ONCE_MAX + 2
    assert fleet.lost() == {"at_once": 5}


def test_off_is_off():
    """0 agents: there are no floods, and nothing is remembered."""
    fleet = Fleet(agents_min=0)

    fleet.did(5000)
    fleet.enter()

    assert (fleet.told(), len(fleet.floods), fleet.floods.size_bytes) == ([], 0, 0)


@pytest.mark.parametrize("cut", range(6))
def test_a_dump_goes_on(cut):
    """Wherever it is written: counts, what is usual, what was told of, and what waits."""

    def steps(fleet):
        yield fleet.did(16, "pay", "IBAN-1")
        yield fleet.did(64, "read")
        yield fleet.did(16, "pay", "IBAN-2", shard=1, ahead=1)
        yield fleet.enter()
        yield fleet.did(16, "pay", "IBAN-2", shard=0)
        yield fleet.did(128, "read")
        yield fleet.enter(24)

    whole, first = Fleet(), Fleet()
    list(steps(whole))
    going = steps(first)
    for _ in range(cut):
        next(going)
    loaded = Floods(config())
    loaded.load(*first.floods.dump())
    first.floods = loaded
    list(going)

    assert first.told() == whole.told()
    assert first.floods.dump()[0] == whole.floods.dump()[0]
    for name, array in whole.floods.dump()[1].items():
        assert np.array_equal(array, first.floods.dump()[1][name])


def test_what_another_astray_has_learnt_begins_anew():
    """A dump of before there were floods, or of another form, is nothing."""
    floods = Floods(config())

    floods.load({}, {})
    floods.load({"schema": 99}, {})

    assert len(floods) == 0


def test_there_is_a_most_of_everything(monkeypatch):
    """Kinds of things, things of a window, tenants: beyond it the oldest go, or none come."""
    assert (KINS_MAX, SWARMS_MAX, TENANTS_MAX) == (65_536, 65_536, 1000)
    monkeypatch.setattr(module, "KINS_MAX", 64)
    monkeypatch.setattr(module, "SWARMS_MAX", 50)
    monkeypatch.setattr(module, "TENANTS_MAX", 3)
    fleet = Fleet()

    for number in range(300):
        fleet.did(8, f"do-{number}")
        if number % 60 == 59:
            fleet.enter()
            assert len(fleet.floods) <= 64
    for name in "abcd":
        fleet.show(name)
        fleet.did(64, f"act-{name}", tenant=name)

    assert fleet.floods.size_bytes < 100_000
    assert [what for _, what, *_ in fleet.told()] == ["act-a", "act-b"]
    assert fleet.lost() == {"kinds": 190, "swarms": 5 * 10, "tenants": 2}
