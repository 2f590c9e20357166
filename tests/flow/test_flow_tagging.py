"""Tags of events that do what some policy forbids."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astray.config import load_config
from astray.decide.limits import tag_patterns
from astray.events import Event
from astray.flow.tagging import _REMEMBERED_MAX, Tagger
from core import decoded
from strategies import NOW_US

PATTERNS = {
    "action": [(0, re.compile(r"iam\..*")), (3, re.compile(r".*\.delete"))],
    "resource": [(1, re.compile(r"prod/.*")), (62, re.compile(r".*secret.*"))],
}
events = st.builds(
    Event,
    ts_us=st.just(NOW_US),
    agent=st.just("a"),
    action=st.sampled_from(["iam.delete", "iam.read", "db.delete", "read", "größe.delete"]),
    resources=st.lists(
        st.sampled_from(["prod/a", "prod/secret", "test/secret", "x"]), max_size=4
    ).map(tuple),
)


def expected(event: Event) -> int:
    """Work out the tag of an event the plain way."""
    bits = {bit for bit, pattern in PATTERNS["action"] if pattern.match(event.action)}
    for resource in event.resources:
        bits |= {bit for bit, pattern in PATTERNS["resource"] if pattern.match(resource)}
    return sum(1 << bit for bit in bits)


@given(st.lists(st.lists(events, max_size=8), max_size=4))
def test_every_event_has_the_bits_of_what_it_matches(batches):
    """Tags are those of every pattern that the action or a resource matches, batch after batch."""
    tagger = Tagger(PATTERNS)

    found = [tagger.tags(decoded(batch)).tolist() for batch in batches]

    assert found == [[expected(event) for event in batch] for batch in batches]


def test_an_action_and_a_resource_of_one_name_are_told_apart():
    """What is forbidden as an action is not forbidden as a resource of the same name."""
    tagger = Tagger({"action": [(0, re.compile("x$"))], "resource": [(1, re.compile("y$"))]})
    both = [
        Event(ts_us=1, agent="a", action="x", resources=("x",)),
        Event(ts_us=1, agent="a", action="y", resources=("y",)),
    ]

    found = [tagger.tags(decoded(both)).tolist() for _ in range(2)]

    assert found == [[1, 2], [1, 2]]  # the second time from memory


def test_where_nothing_is_forbidden_there_are_no_tags():
    """Without patterns the hot path does nothing at all."""
    tagger = Tagger(tag_patterns(load_config()))

    tags = tagger.tags(decoded([Event(ts_us=1, agent="a", action="x")]))

    assert (tags.shape, tags.dtype) == ((0,), np.uint64)


def test_globs_of_a_policy_become_tags():
    """Forbidden actions and resources of the configuration are found."""
    limits = {"forbidden_actions": ["iam.*"], "forbidden_resources": ["*/payroll"]}
    tagger = Tagger(tag_patterns(load_config(overrides={"default_policy": {"limits": limits}})))
    stream = [
        Event(ts_us=1, agent="a", action="iam.grant"),
        Event(ts_us=1, agent="a", action="read", resources=("db/x", "db/payroll")),
        Event(ts_us=1, agent="a", action="read", resources=("db/payroll/x",)),
    ]

    assert [bool(tag) for tag in tagger.tags(decoded(stream))] == [True, True, False]


def test_what_is_remembered_is_bounded():
    """After as many distinct names as are remembered, tags are still right."""
    tagger = Tagger(PATTERNS)
    tagger._known = {(False, -number): 0 for number in range(_REMEMBERED_MAX)}

    tags = tagger.tags(decoded([Event(ts_us=1, agent="a", action="iam.x")]))

    assert (tags.tolist(), len(tagger._known)) == ([1], 1)
