"""Who has changed is asked about once, by name, with what differs; who has not is left alone."""

import numpy as np
import pytest

from astray import blob
from astray.baseline.activity import Activity
from astray.config import load_config
from astray.decide import drift as module
from astray.decide.decider import Decider
from astray.decide.drift import AGENTS_MAX, AT_ONCE_MAX, NAMES_MAX, WAITING_MAX, Drift
from astray.events import Event
from core import decoded
from made import HOUR_US, START_US, ended_rows, records_of, row_of

FIRST_US = START_US - 1000 * HOUR_US

ORDINARY = (1.2, 3.0, 1.7, 6.0, 1.1, 2.2)
ODD = 3000.0


class Fleet:
    """Agents whose sessions one can script; `reviews` is all that was asked for, by hour."""

    def __init__(self, drift=None, **review):
        self.drift = drift or Drift(
            load_config(overrides={"review": {"learn_days": 0.0, **review}})
        )
        self.activity = Activity()
        self.hour = 0
        self.reviews = []

    def live(self, hours, agents, odd=(), tenant=""):
        """Let hours pass in which every agent has a session; some have odd ones."""
        for _ in range(hours):
            self.hour += 1
            self.show(agents, tenant)
            self.end(agents, [ODD if agent in odd else self.ordinary(agent) for agent in agents])
            self.turn()

    def ordinary(self, agent):
        """Return how odd an agent's session is in this hour, of one that has not changed."""
        return ORDINARY[(self.hour + len(agent)) % len(ORDINARY)]

    def show(self, agents, tenant=""):
        """Show agents."""
        now_us = FIRST_US + self.hour * HOUR_US
        chunk = decoded([Event(now_us, name, "act", tenant=tenant) for name in agents])
        self.keys = chunk.rows["agent"].copy()
        shown = self.activity.shown(chunk, np.arange(len(agents)), now_us)
        if shown is not None:
            self.drift.show(shown)

    def end(self, agents, n):
        """End a session of each agent that was shown last."""
        rows = ended_rows([0.0] * len(agents), agent=self.keys)
        rows["ts_us"] = rows["start_us"] = FIRST_US + self.hour * HOUR_US
        self.drift.note(rows, np.array(n, float))

    def turn(self):
        """Let the window turn."""
        asked = self.drift.turn(FIRST_US + (self.hour + 1) * HOUR_US)
        self.reviews += [(self.hour, review) for review in asked]

    def asked(self):
        """Return who is to be reviewed, with the hour."""
        return [(hour, review.agent) for hour, review in self.reviews]


def names(count, what="agent"):
    """Return names."""
    return [f"{what}-{number:02d}" for number in range(count)]


def test_who_changes_is_asked_about_once_within_a_working_day():
    """A hundred sessions, then others: a review after a few of them, and no second one."""
    fleet, crew = Fleet(), names(5)
    fleet.live(100, crew)
    fleet.live(80, crew, odd=crew[:1])

    ((hour, who),) = fleet.asked()
    assert who == "agent-00"
    assert 105 < hour < 112


def test_it_says_since_when_and_what_differs():
    """Everything in it is counted; its ids follow from what it is about."""
    fleet, crew = Fleet(), names(3)
    fleet.live(100, crew, tenant="acme")
    fleet.live(12, crew, odd=crew[:1], tenant="acme")

    ((hour, review),) = fleet.reviews
    changed = hour - 100
    assert review.since_us == FIRST_US + 101 * HOUR_US
    assert (review.tenant, review.is_sudden, review.one_in) == ("acme", True, 100_000.0)
    assert (review.sessions, review.past) == (changed, 64 - changed)
    assert review.after == pytest.approx(ODD, rel=0.05)
    assert review.before == pytest.approx(np.exp2(np.log2(ORDINARY).mean()), rel=0.05)
    assert review.ts_us == FIRST_US + (hour + 1) * HOUR_US
    assert review.sentence == (
        "agent-00 behaves otherwise since 2026-10-15T15:00:00.000Z: its sessions since then "
        f"({changed}) are as odd as 1 in {round(review.after):,}, those before "
        f"({64 - changed}) as 1 in 2; without a change that comes at most once in 100,000 sessions"
    )
    assert review.title == "Review agent-00"


def test_who_has_changed_a_little_is_told_so():
    """Where ADWIN finds no two levels there is no day to name."""
    fleet, crew = Fleet(false_per_million=1000.0), names(1)
    fleet.live(60, crew)
    for place in range(80):
        fleet.hour += 1
        fleet.show(crew)
        fleet.end(crew, [(20.0, 20.0, 2.0)[place % 3]])
        fleet.turn()

    review = fleet.reviews[0][1]
    assert not review.is_sudden
    assert review.sentence.startswith("agent-00 does not behave as it used to: its latest sessions")


def test_a_single_odd_session_is_no_change():
    """Nor are a few that lie far apart."""
    fleet, crew = Fleet(), names(2)
    for _ in range(8):
        fleet.live(20, crew)
        fleet.live(1, crew, odd=crew)

    assert fleet.reviews == []


def test_many_that_change_at_once_are_one_review():
    """One more than may be asked for alone: a number and a few names."""
    fleet, crew = Fleet(), names(AT_ONCE_MAX + 2)
    fleet.live(70, crew)
    fleet.live(12, crew, odd=crew[1:])

    ((_, review),) = fleet.reviews
    assert (review.agent, review.count) == ("", AT_ONCE_MAX + 1)
    assert review.examples == tuple(crew[1:6])
    assert review.since_us == FIRST_US + 71 * HOUR_US
    assert review.title == "Review 21 agents that changed at once"
    assert review.sentence.startswith("21 agents do not behave as they used to, among them agent-0")


def test_as_many_as_may_be_asked_for_alone_are():
    """Twenty at a time are still twenty."""
    fleet, crew = Fleet(), names(AT_ONCE_MAX)
    fleet.live(70, crew)
    fleet.live(12, crew, odd=crew)

    assert sorted(who for _, who in fleet.asked()) == crew


def test_tenants_are_asked_apart():
    """Agents of one name in two tenants are two agents, and many are many of one tenant."""
    here, there = Fleet(), Fleet()
    there.drift = here.drift
    for hours, odd in ((70, False), (12, True)):
        for fleet, tenant in ((here, "a"), (there, "b")):
            crew = names(AT_ONCE_MAX)
            for _ in range(hours):
                fleet.live(1, crew, odd=crew if odd else (), tenant=tenant)

    told = [review for _, review in here.reviews + there.reviews]
    assert len({review.case for review in told}) == len(told) == 2 * AT_ONCE_MAX
    assert {review.tenant for review in told} == {"a", "b"}


def test_many_are_many_of_one_tenant():
    """However their agents are mixed, each tenant has one review of its own."""
    crew, tenants = names(AT_ONCE_MAX + 1), ("a", "b")
    fleets = [Fleet() for _ in tenants]
    fleets[1].drift = fleets[0].drift
    for hour in range(82):
        for fleet, tenant in zip(fleets, tenants, strict=True):
            fleet.hour += 1
            fleet.show(crew, tenant)
            fleet.end(crew, [ODD if hour >= 70 else fleet.ordinary(crew[0])] * len(crew))
        fleets[0].turn()

    assert [(r.tenant, r.count) for _, r in fleets[0].reviews] == [("a", 21), ("b", 21)]


def test_who_has_no_name_yet_is_asked_about_when_it_has():
    """A name is read from a line; nothing is lost meanwhile."""
    fleet, crew = Fleet(), names(1)
    fleet.live(70, crew)
    fleet.drift._names.drop_others([])
    fleet.activity = Activity()
    for _ in range(12):
        fleet.hour += 1
        fleet.end(crew, [ODD])
        fleet.turn()
    before = fleet.asked()

    fleet.live(1, crew)

    assert (before, fleet.asked()) == ([], [(83, "agent-00")])


def test_only_sessions_that_have_ended_count():
    """How a session stands while it runs is no session more."""
    decider = Decider(load_config(overrides={"events": {"shards": 1}}))
    event = Event(FIRST_US, "agent", "act", session="s")

    def waiting(*, ended):
        decider.decide([records_of(0, FIRST_US, (event, row_of(event, ended=ended)))])
        return len(decider.drift.dump()[1]["waiting"])

    assert (waiting(ended=False), waiting(ended=False)) == (0, 0)
    assert waiting(ended=True) == 1


def test_it_can_be_switched_off():
    """Nothing is remembered then, and nothing is asked."""
    fleet, crew = Fleet(false_per_million=0.0), names(2)
    fleet.live(70, crew)
    fleet.live(20, crew, odd=crew)

    assert fleet.reviews == []
    assert (len(fleet.drift), len(fleet.drift._names), fleet.drift.dump()) == (0, 0, ({}, {}))


@pytest.mark.parametrize("hours", [60, 103], ids=["before", "in the change"])
def test_a_dump_goes_on_as_the_original_would(hours):
    """Agents, their names, and the sessions of this window."""
    crew = names(4)
    whole, restored = Fleet(), Fleet()

    def live(fleet, until):
        while fleet.hour < until:
            fleet.live(1, crew, odd=crew[:1] if fleet.hour >= 100 else ())

    live(whole, hours)
    whole.hour += 1
    whole.show(crew)
    whole.end(crew, [ODD] * 4)
    restored.drift.load(*blob.unpack(blob.pack("drift", *whole.drift.dump()), "drift"))
    restored.hour, restored.activity = whole.hour, whole.activity
    for fleet in (whole, restored):
        fleet.turn()
        live(fleet, 130)

    assert restored.reviews == whole.reviews != []
    assert str(restored.drift.dump()) == str(whole.drift.dump())


def test_what_another_form_has_learnt_begins_anew():
    """A dump without agents, or with those of another astray, is no reason to refuse it."""
    fleet = Fleet()
    fleet.live(5, names(3))
    meta, arrays = fleet.drift.dump()
    other = Fleet()

    other.drift.load({}, {})
    other.drift.load({**meta, "schema": 99}, arrays)

    assert len(other.drift) == 0


def test_the_order_in_which_sessions_are_told_of_does_not_matter():
    """Within a window only their own order counts, which their ends tell."""
    shuffled, told = Fleet(), Fleet()
    generator = np.random.default_rng(5)
    rows = ended_rows([0.0] * 300, agent=np.repeat([7, 8, 9], 100))
    rows["ts_us"] = rows["start_us"] = FIRST_US + np.tile(np.arange(100), 3) * 1_000_000
    n = 1.0 / generator.uniform(size=300)
    order = generator.permutation(300)

    told.drift.note(rows, n)
    for part in np.array_split(order, 7):
        shuffled.drift.note(rows[part], n[part])
    dumped = str(shuffled.drift.dump())

    assert dumped == str(told.drift.dump())
    for fleet in (told, shuffled):
        fleet.turn()
    assert shuffled.drift._table.tobytes() == told.drift._table.tobytes()


def test_what_is_remembered_is_bounded_and_the_least_suspected_goes_first():
    """A flood of agents pushes out agents of the flood, not who is about to be asked about."""
    fleet, crew = Fleet(), names(1)
    fleet.live(70, crew)
    fleet.live(4, crew, odd=crew)
    flood = ended_rows([0.0] * (AGENTS_MAX + 10))
    flood["agent"] = np.arange(1, len(flood) + 1)
    flood["ts_us"] = flood["start_us"] = FIRST_US + fleet.hour * HOUR_US
    fleet.drift.note(flood, np.ones(len(flood)))
    for key in range(1, NAMES_MAX):
        fleet.drift._names.put(key, "", "flood")

    fleet.live(10, crew, odd=crew)

    assert [who for _, who in fleet.asked()] == crew
    assert len(fleet.drift) <= AGENTS_MAX
    assert len(fleet.drift._names) <= AGENTS_MAX + 1
    assert fleet.drift.size_bytes <= AGENTS_MAX * 400


def test_no_more_sessions_wait_than_may():
    """Those of a window beyond it count before the window is over."""
    fleet = Fleet()
    rows = ended_rows([0.0] * 1000, agent=5)
    many = np.concatenate([rows] * (WAITING_MAX // 1000 + 1))

    fleet.drift.note(many, np.ones(len(many)))
    fleet.drift.note(rows, np.ones(len(rows)))

    assert sum(map(len, fleet.drift._waiting)) == len(rows)
    assert fleet.drift._table["sessions"].tolist() == [len(many)]
    assert module.NAMES_MAX >= AGENTS_MAX
