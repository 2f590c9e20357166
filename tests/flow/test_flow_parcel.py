"""What crosses from process to process is packed once, however often the engine asks."""

import pickle

from astray.flow.parcel import Parcel


class Counted:
    """Counts how often it is packed."""

    packed = 0

    def __reduce__(self):
        """Be packed."""
        Counted.packed += 1
        return Counted, ()


def test_a_parcel_is_packed_once_and_has_its_content_where_it_arrives():
    """The engine packs an item to learn its length, and then to send it."""
    parcel = Parcel([Counted(), b"line"])

    lengths = {len(pickle.dumps(parcel)) for _ in range(2)}
    arrived = pickle.loads(pickle.dumps(parcel))  # noqa: S301 - our own

    assert (Counted.packed, len(lengths)) == (1, 1)
    assert isinstance(arrived.content[0], Counted)
    assert arrived.content[1] == b"line"
