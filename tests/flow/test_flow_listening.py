"""Sources that give nothing for too long, by a clock that the tests turn."""

import contextlib

import pytest

from astray.errors import StoreError
from astray.events import Chunk
from astray.flow.kafka.address import feed_of, partition_name, topic_name
from astray.flow.listening import Listening, Watch
from astray.flow.sources import Reading, Sources
from astray.store import Store
from running import alerts, rows, until

AFTER_S = 900.0
FILE = "events.jsonl"


class Site:
    """A source, a clock and a store."""

    def __init__(self, tmp_path, after_s=AFTER_S):
        self.path, self.after_s = tmp_path / "cases.db", after_s
        self.now_s = 1_795_312_800.0
        self.woken = []
        self.start()

    def start(self):
        """Begin a run, as after a restart: nothing of an earlier one is in memory."""
        self.listening = Listening(lambda: self.now_s)

    def __enter__(self):
        self.store = Store.open(f"sqlite:///{self.path}")
        self.renew()
        return self

    def __exit__(self, *_):
        self.store.close()

    def renew(self):
        """Watch anew."""
        self.start()
        wake = lambda: self.woken.append(self.now_s)  # noqa: E731 - short
        self.watch = Watch(self.listening, self.store, self.after_s, wake)

    def asked(self, seconds, offset, giving=(), name=FILE):
        """Let seconds pass, ask the source, and look."""
        self.now_s += seconds
        self.listening.asked({name: ("", offset, 0)}, giving)
        self.watch.look()

    def told(self):
        """Return the silences of the store with how they ended."""
        return rows(self.path, "SELECT name, ended FROM silences ORDER BY rowid")


@pytest.fixture
def site(tmp_path):
    """Return a site whose source has just given something."""
    with Site(tmp_path) as site:
        site.asked(0, 100, [FILE])
        yield site


def test_a_source_that_gives_nothing_has_one_case(site):
    """When the time is up, and not again while it lasts."""
    site.asked(AFTER_S - 1, 100)
    early = site.told()
    for _ in range(3):
        site.asked(AFTER_S, 100)

    assert early == []
    assert site.told() == [(FILE, "")]
    assert len(site.woken) == len(alerts(site.path)) == 1


def test_it_is_said_when_it_is_back_and_the_next_silence_is_another(site):
    """Two silences at two places are two cases."""
    site.asked(AFTER_S, 100)
    site.asked(5, 200, [FILE])
    closed = site.told()
    site.asked(AFTER_S, 200)

    assert closed == [(FILE, "back")]
    assert site.told() == [(FILE, "back"), (FILE, "")]
    assert len(alerts(site.path)) == 3


def test_a_restart_opens_no_second_case(site):
    """The place it fell silent at is the same."""
    site.asked(AFTER_S, 100)

    site.renew()
    site.asked(60, 100)
    site.asked(AFTER_S, 100)

    assert site.told() == [(FILE, "")]
    assert len(alerts(site.path)) == 1


def test_a_restart_closes_what_the_run_before_has_left_open(site):
    """Also when the source gives at once: it was there that it went on."""
    site.asked(AFTER_S, 100)
    site.renew()

    site.listening.asked({FILE: ("", 150, 0)}, [FILE], {FILE: ("", 100, 0)})
    site.watch.look()

    assert site.told() == [(FILE, "back")]


def test_a_source_that_nobody_asks_is_not_silent(site):
    """A loop that is stuck says nothing of what it would read."""
    site.now_s += 10 * AFTER_S
    site.watch.look()

    assert site.told() == []


def test_a_topic_is_silent_when_all_of_its_partitions_are(site):
    """A partition has few agents, who may sleep; a topic is one source."""
    parts = {partition_name("actions", n): ("", 7 + n, 0) for n in range(3)}
    parts[topic_name("actions")] = ("", 3, 0)
    site.listening.asked(parts, [])
    for _ in range(3):
        site.now_s += AFTER_S - 1
        site.listening.asked(parts, [partition_name("actions", 1)])
        site.watch.look()
    before = site.told()

    site.now_s += AFTER_S
    site.listening.asked(parts, [])
    site.watch.look()

    assert before == []
    assert site.told() == [("kafka:actions", "")]


@pytest.mark.parametrize(
    ("source", "feed"),
    [
        ("kafka:actions/12", "kafka:actions"),
        ("kafka:actions", "kafka:actions"),
        ("/var/log/kafka:x/7", "/var/log/kafka:x/7"),
        ("logs/2026", "logs/2026"),
        ("-", "-"),
    ],
)
def test_a_partition_is_part_of_its_topic_and_a_file_of_nothing(source, feed):
    """Only what Kafka's partitions are called is taken apart."""
    assert feed_of(source) == feed


def test_standard_input_has_no_place_that_lasts(site):
    """Two runs that fall silent at the same byte have each their case."""
    site.asked(0, 10, ["-"], name="-")
    site.asked(AFTER_S, 10, name="-")
    site.renew()
    site.asked(0, 10, ["-"], name="-")
    site.asked(AFTER_S, 10, name="-")

    assert site.told() == [("-", ""), ("-", "")]


def test_what_the_store_does_not_take_is_tried_again(site):
    """A store that is away delays the alarm and does not lose it."""
    site.store.close()
    with pytest.raises(StoreError):
        site.asked(AFTER_S, 100)

    with Store.open(f"sqlite:///{site.path}") as store:
        site.watch._store = store
        site.asked(1, 100)

    assert site.told() == [(FILE, "")]


@pytest.mark.parametrize("follow", [False, True], ids=["to its end", "followed"])
def test_only_a_file_that_is_followed_is_listened_to(follow, tmp_path):
    """The end of a file is no silence."""
    path = tmp_path / FILE
    path.write_bytes(b"{}\n")
    reading = Reading(follow=follow)
    sources = Sources([str(path)], reading)
    readers = [sources.build_part("read", part, None) for part in sources.list_parts()]

    given = []
    for reader in readers:
        with contextlib.suppress(StopIteration):
            for _ in range(3):
                given += reader.next_batch()
        reader.close()

    assert [c for c in given if not c.silent] == [Chunk(str(path), 0, b"{}\n", origin=str(path))]
    feeds = reading.listening.feeds
    assert set(feeds) == ({str(path)} if follow else set())
    assert [feed.gave for feed in feeds.values()] == [1] * follow


def test_the_watch_looks_by_itself_and_for_the_last_time_at_the_end(tmp_path):
    """What is heard just before the end closes its case."""
    with Site(tmp_path, after_s=0.2) as site:
        site.listening.asked({FILE: ("", 5, 0)}, [])
        site.now_s += 1
        site.listening.asked({FILE: ("", 5, 0)}, [])
        with site.watch:
            until(site.told, "the silence")
            site.listening.asked({FILE: ("", 6, 0)}, [FILE])

        assert site.told() == [(FILE, "back")]


def test_nobody_looks_where_it_is_switched_off(tmp_path):
    """0 is never."""
    with Site(tmp_path, after_s=0.0) as site, site.watch:
        site.listening.asked({FILE: ("", 5, 0)}, [])

        assert not site.watch._thread.is_alive()
