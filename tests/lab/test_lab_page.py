"""Pages and charts: what comes from outside stays text, and what is drawn is where it belongs."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.lab.page import Html, element, joined, page, points, safe, table
from astray.lab.svg import Axis, Bars, Line, chart

HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</td></table><h1>x",
    "' onmouseover='x", "&lt;b&gt;", "a\x00b\x1b[31m", "]]>", "<!--", "\u202egnp.exe",
]  # fmt: skip


class Seen(HTMLParser):
    """Notes the tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        """Note a text."""
        self.text.append(data)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_name_stays_a_text_wherever_it_stands(hostile):
    """In titles, paragraphs, tables, lists and charts a name makes no tag and no attribute."""
    drawn = chart(hostile, Axis(hostile, 0, 1), Axis(hostile, 0, 1), [Line(hostile, [0.5], [0.5])])
    plain = page("x", element("p", "x"), table(["x"], [["x"]]), points(["x"]), Html(drawn))

    found = Seen(
        page(
            hostile, element("p", hostile), table([hostile], [[hostile]]), points([hostile]), Html(drawn)
        ).decode()
    )  # fmt: skip

    assert found.tags == Seen(plain.decode()).tags
    assert "onerror" not in dict(found.attributes)
    shown = hostile.replace("\x00", "�").replace("\x1b", "�")
    assert found.text.count(shown) >= 5


@given(st.text())
def test_any_text_comes_out_as_it_was(text):
    """What a browser reads from an escaped text is the text, but for control characters."""
    (shown,) = Seen(element("p", text + ".")).text or [""]

    assert shown == re.sub(r"[\x00-\x1f]", "�", text) + "."


def test_a_page_needs_nothing_but_itself():
    """No address is loaded, no script runs, and the page's own policy forbids both."""
    text = page("title", element("p", "x")).decode()
    found = Seen(text)

    assert not {"script", "img", "link", "iframe"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name in ("src", "href") or name[:2] == "on"]
    assert "default-src 'none'" in dict(found.attributes)["content"]
    assert text.startswith("<!doctype html>\n")


def test_a_table_without_rows_says_so():
    """An empty table is a word, not an empty frame."""
    assert table(["a"], []) == '<p class="small">none</p>'


def test_what_is_html_is_not_escaped_again():
    """Elements go into elements as they are."""
    assert joined([element("b", "<"), "<"]) == "<b>&lt;</b>&lt;"
    assert safe(Html("<b>")) == "<b>"
    assert safe(3) == "3"


def _parsed(drawn):
    return ET.fromstring(drawn)  # noqa: S314 - it is ours


def test_lines_go_where_their_axes_say():
    """The corners of the axes are the corners of the frame, also where an axis is logarithmic."""
    x, y = Axis("x", 1.0, 100.0, log=True), Axis("y", 0.0, 1.0)

    drawn = _parsed(chart("t", x, y, [Line("l", [1.0, 10.0, 100.0], [0.0, 0.5, 1.0])]))

    (line,) = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    points_ = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    (left, bottom), (middle, half), (right, top) = points_
    assert middle == pytest.approx((left + right) / 2, abs=1)
    assert half == pytest.approx((top + bottom) / 2, abs=1)
    assert left < right
    assert top < bottom


def test_bars_are_as_high_as_they_count():
    """A bar of twice the count is twice as high, and none is drawn for nothing."""
    bars = Bars("b", [0.0, 1.0, 2.0, 3.0], [2.0, 0.0, 4.0])

    drawn = _parsed(chart("t", Axis("x", 0, 3), Axis("y", 0, 4), bars=[bars]))

    rects = [r for r in drawn.iter("{http://www.w3.org/2000/svg}rect") if r.get("fill-opacity")]
    first, last = (float(rect.get("height")) for rect in rects)
    assert last == pytest.approx(2 * first, abs=0.2)


def test_what_is_undefined_is_left_out():
    """NaN and infinity are no points of a line."""
    line = Line("l", [0.1, np.nan, 0.5, 0.9], [0.1, 0.2, np.inf, 0.9])

    drawn = _parsed(chart("t", Axis("x", 0, 1), Axis("y", 0, 1), [line]))

    (found,) = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    assert len(found.get("points").split()) == 2
