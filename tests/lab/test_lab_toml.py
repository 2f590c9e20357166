"""Tables written as TOML read as the same tables."""

import tomllib
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from astray.config import default_toml, load_config
from astray.lab.toml import toml_of

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_VALUES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | _TEXTS
    | st.datetimes(timezones=st.just(UTC))
)
_TABLES = st.recursive(
    st.dictionaries(_TEXTS, _VALUES | st.lists(_VALUES, max_size=3), max_size=4),
    lambda inner: st.dictionaries(
        _TEXTS,
        _VALUES
        | inner
        | st.lists(inner, min_size=1, max_size=3)
        | st.lists(_VALUES | inner, max_size=3),
        max_size=4,
    ),
    max_leaves=12,
)


@given(_TABLES)
def test_what_is_written_is_read_again(table):
    """Any table, with arrays of tables and names of any letters, survives the way out and back."""
    assert tomllib.loads(toml_of(table)) == table


def test_the_defaults_survive(tmp_path):
    """The whole default configuration, written and read, is the same configuration."""
    path = tmp_path / "astray.toml"

    path.write_text(toml_of(tomllib.loads(default_toml())))

    assert load_config(path) == load_config()


def test_values_look_as_people_write_them():
    """Plain keys are bare, tables have headings, arrays of tables have double ones."""
    table = {
        "policy": [{"name": "pay", "alert": {"score": 50.0}}],
        "top": 1,
        "source": {"start": datetime(2026, 11, 22, tzinfo=UTC), "a b": ["x", True]},
    }

    assert toml_of(table) == (
        'top = 1\n\n[[policy]]\nname = "pay"\n\n[policy.alert]\nscore = 50.0\n\n'
        '[source]\nstart = 2026-11-22T00:00:00+00:00\n"a b" = ["x", true]\n'
    )
