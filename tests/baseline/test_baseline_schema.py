"""Who changes what a state is made of gives it another version: others must not misread it."""

import hashlib

import numpy as np
import orjson

from astray import blob
from astray.calibrate.ended import ended_type
from astray.decide.decider import Decider
from core import new_shard, small_config

KNOWN = {
    7: "2a98251f562a5519",
    8: "2a98251f562a5519",
    9: "86af5980b2ea622a",
    10: "f826f0aca091dc64",
}
"""By schema version, what states are made of; a new layout gets a new line, not another digest."""


def layout_of(dump, kind):
    """Return where the header begins, and the name, type and dimensions of every array."""
    _, arrays = blob.unpack(dump, kind)
    described = [
        (name, np.lib.format.dtype_to_descr(array.dtype), array.ndim)
        for name, array in sorted(arrays.items())
    ]
    return dump.index(b'{"kind"'), described


def test_a_layout_has_one_version():
    """The frame, all arrays of a shard and a decider, and what a reference keeps."""
    config = small_config()
    layout = [
        layout_of(new_shard(config).dump(), "shard"),
        layout_of(Decider(config).dump(), "decider"),
        np.lib.format.dtype_to_descr(ended_type(0)),
    ]

    digest = hashlib.sha256(orjson.dumps(layout)).hexdigest()[:16]

    assert KNOWN[blob.SCHEMA_VERSION] == digest
