"""HTML from values: whatever is not `Html` is a text from outside, and is escaped.

Names of agents and sessions are chosen by whoever writes events. Besides being escaped they
meet a policy that forbids the page to load or to run anything.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em;
  color: #1f2328; background: #fff; }
h1 { font-size: 1.6em; } h2 { margin-top: 2em; border-bottom: 1px solid #d1d9e0; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { padding: .25em .7em; text-align: left; vertical-align: top; overflow-wrap: anywhere;
  unicode-bidi: isolate; border-bottom: 1px solid #eaeef2; max-width: 34em; }
.charts { display: flex; flex-wrap: wrap; gap: 1em; }
svg { font-size: 11px; background: #fff; } svg .title { font-weight: 600; font-size: 13px; }
svg .grid { stroke: #eaeef2; } svg .line { fill: none; stroke-width: 2; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
.small { color: #59636e; font-size: .9em; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def safe(value: Any) -> Html:
    """Return a value as HTML; a text from outside stays the text that it is.

    >>> safe("<b>")
    '&lt;b&gt;'
    """
    if isinstance(value, Html):
        return value
    printable = "".join(char if char >= " " else "�" for char in str(value))
    return Html(escape(printable))


def joined(parts: Iterable[Any]) -> Html:
    """Return parts one after the other."""
    return Html("".join(map(safe, parts)))


def element(name: str, *parts: Any, kind: str = "") -> Html:
    """Return an element with parts in it.

    >>> element("p", "a < b", kind="small")
    '<p class="small">a &lt; b</p>'
    """
    attributes = f' class="{escape(kind)}"' if kind else ""
    return Html(f"<{name}{attributes}>{joined(parts)}</{name}>")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Html:
    """Return a table; without rows a word that says so."""
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    if not body:
        return element("p", "none", kind="small")
    return element("table", element("tr", *(element("th", cell) for cell in head)), *body)


def points(texts: Iterable[Any]) -> Html:
    """Return a list of texts."""
    return element("ul", *(element("li", text) for text in texts))


def charts(*drawn: str) -> Html:
    """Return charts, which are SVG, side by side."""
    return element("div", *map(Html, drawn), kind="charts")


def page(title: str, *parts: Html) -> bytes:
    """Return a whole page, which needs nothing but itself."""
    head = joined(
        (
            Html('<meta charset="utf-8">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'),
            element("title", title),
            Html(f"<style>{_STYLE}</style>"),
        )
    )
    body = joined((element("h1", title), *parts))
    text = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'
    return text.encode(errors="replace")
