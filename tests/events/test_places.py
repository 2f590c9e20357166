"""Resources as hierarchies: what is one of many, and what lies in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.events.ids import stable_id
from astray.events.places import resources_of


def like(one, other):
    """Return whether two names have one pattern, and one place."""
    first, second = resources_of([one, other])
    return bool(first["pattern"] == second["pattern"]), bool(first["place"] == second["place"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hris://employees/6828602", "hris://employees/17"),
        ("s3://lake/out/2026-11-22/part-5d18e982e2.csv", "s3://lake/out/2026-11-23/part-91.csv"),
        ("arn:aws:s3:::logs/2026/11/22", "arn:aws:s3:::logs/2025/01/01"),
        ("user_id:sophia_silva_7557", "user_id:liam_khan_2521"),
        ("https://api.example.com/v1/orders?id=41", "https://api.example.com/v1/orders?id=7"),
        (
            "/runs/1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "/runs/6fa459ea-ee8a-3ca4-894e-db77e160355e",
        ),
        ("iban:US133000000121212121212", "iban:DE89370400440532013000"),
    ],
)
def test_what_only_numbers_tell_apart_has_one_pattern(one, other):
    """Ids, dates, hashes and account numbers are each one of many."""
    assert like(one, other) == (True, True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://lake/out/1.csv", "s3://lake/inbox/1.csv"),
        ("s3://lake/out/1.csv", "s3://lake/out/1.parquet"),
        ("db:sales.orders", "db:sales.payroll"),
    ],
)
def test_other_names_have_other_patterns_and_may_lie_in_one_place(one, other):
    """Names that are words count, wherever in the path."""
    assert like(one, other) == (False, True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hris://employees/17", "hris://payroll/17"),
        ("s3://lake/out", "gcs://lake/out"),
        ("ec2", "s3"),
        ("", "a"),
    ],
)
def test_what_begins_otherwise_lies_elsewhere(one, other):
    """The first two parts are the place."""
    assert like(one, other) == (False, False)


@given(st.lists(st.text(), max_size=8))
def test_any_names_have_ids_that_depend_on_nothing_else(texts):
    """What is described beside a name does not matter; its id is that of the string."""
    found = resources_of(texts)

    assert [tuple(row) for row in found.tolist()] == [
        tuple(resources_of([text]).tolist()[0]) for text in texts
    ]
    assert found["id"].tolist() == [stable_id(text) for text in texts]
