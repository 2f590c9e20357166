"""Ids are stable: these values may never change, or every baseline is lost."""

import os
import subprocess
import sys

import numpy as np

from astray.events.ids import pair_id, pair_ids, stable_id, stable_ids


def test_ids_are_the_ones_that_states_on_disk_hold():
    """An id is the same for ever."""
    assert stable_id("") == 0x84D69DCEF1E6733A
    assert stable_id("billing-bot") == 0x3532276EA32C0573
    assert stable_id("größe 🙂 and more than sixteen bytes") == 0xCF2B3EF64140CC4A


def test_ids_do_not_depend_on_the_process():
    """Another process, with another hash seed, computes the same id."""
    code = "from astray.events.ids import stable_id; print(stable_id('billing-bot'))"
    env = os.environ | {"PYTHONHASHSEED": "7", "NUMBA_DISABLE_JIT": "1"}

    found = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )

    assert int(found.stdout) == stable_id("billing-bot")


def test_many_ids_at_once_are_the_same_ids():
    """The bulk forms agree with the single ones, and empty text is absent."""
    texts = ["a", "", "billing-bot", "x" * 100]

    ids = stable_ids(texts)

    assert ids.tolist() == [stable_id("a"), 0, stable_id("billing-bot"), stable_id("x" * 100)]
    assert pair_ids(ids, ids[::-1].copy()).tolist() == [
        pair_id(left, right) for left, right in zip(ids.tolist(), ids[::-1].tolist(), strict=True)
    ]


def test_a_pair_has_an_order():
    """(a, b) and (b, a) are different pairs."""
    assert pair_id(1, 2) != pair_id(2, 1)


def test_ids_spread():
    """A hundred thousand similar strings have different ids and fill all buckets alike."""
    ids = stable_ids([f"agent-{number}" for number in range(100_000)])

    assert len(np.unique(ids)) == 100_000
    assert np.bincount(ids % np.uint64(64), minlength=64).min() > 1350
