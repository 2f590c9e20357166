"""A topic of verdicts: taken into the case store, each once, whatever else is in the topic."""

import time

import orjson
import pytest

from astray.alerts.ocsf import finding
from astray.config import load_config
from astray.decide.verdict import Said, Scope, Verdict
from astray.errors import ConfigError
from astray.flow.counters import Counters
from astray.flow.kafka.connecting import connect
from astray.respond import WebhookOutbox
from astray.store import Store
from astray.testing import make_decision
from running import until

_TS_US = 1_795_312_800_000_000


@pytest.fixture
def store(tmp_path):
    """Return a case store with two cases."""
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as store:
        decisions = [make_decision(), make_decision(agent="other", session="s2")]
        store.record(decisions, WebhookOutbox([], finding), time.time())
        yield store


def _verdict(case):
    said = Verdict(case, Said.FALSE_POSITIVE, "kim", _TS_US, scope=Scope.AGENT)
    return orjson.dumps(said.as_dict({}))


def _read(site, topic, store, counters, until_, what):
    config = site.config(brokers=[site.address], verdicts=topic)
    with connect(config, ["-"], {}).verdicts(store, counters):
        until(until_, what)
        time.sleep(0.6)  # a commit follows what has been taken


def _known(store):
    return [orjson.loads(body)["alert_id"] for _, body in store.verdicts_after(0, 100)]


def test_verdicts_of_a_topic_are_taken_once(protocol, store):
    """Also where they come again; what is none, or is about no case, is counted."""
    site = protocol
    ours, other = make_decision().case, make_decision(agent="other", session="s2").case
    topic = site.topic()
    site.put(topic, [_verdict(ours), b"{}", _verdict("case_0123456789abcdef"), _verdict(ours)])
    counters, later = Counters(), Counters()

    _read(site, topic, store, counters, lambda: counters.rejects.total() == 2, "two rejects")
    site.put(topic, [_verdict(other)])
    _read(site, topic, store, later, lambda: len(_known(store)) == 2, "the second verdict")

    assert _known(store) == [ours, other]
    assert counters.rejects == {"not_a_verdict": 2}
    assert later.rejects == {}


def test_a_topic_of_verdicts_needs_brokers():
    """They are those of [source.kafka], whatever the command line reads."""
    config = load_config(overrides={"source": {"kafka": {"verdicts": "told"}}})

    with pytest.raises(ConfigError, match=r"source\.kafka: verdicts are to be read, and brokers"):
        connect(config, ["-"], {})
