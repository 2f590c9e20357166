"""House rules that a machine can hold."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import astray

_ROOT = Path(__file__).parent.parent
_SOURCE = _ROOT / "src" / "astray"
_FILES = sorted(_SOURCE.rglob("*.py"))
_IDS = [path.relative_to(_SOURCE).as_posix() for path in _FILES]

_FILE_LINES_MAX = 400
_FUNCTION_LINES_MAX = 60
_SCANNER = "events/scan.py"  # one pass over bytes, kept in one place to be read as a whole
_SCANNER_LINES_MAX = 520

_ROOMS = [
    "events",
    "baseline",
    "detectors",
    "calibrate",
    "decide",
    "store",
    "respond",
    "flow",
    "lab",
    "cli",
]
"""Each may import what stands left of it."""

_ASIDE = {"alerts": "decide", "testing": "respond", "__main__": "cli"}
"""Rooms beside the row, and the room up to which they may reach."""

_COMMON = {
    "blob", "compiled", "config", "config_detectors", "config_evidence", "config_kafka",
    "config_notices", "config_store", "errors", "joining", "large", "paths", "vector",
}  # fmt: skip
"""What every room may import."""

_HOMES = {
    "bytewax": {"flow"},
    "confluent_kafka": {"flow"},
    "httpx": {"respond"},
    "sqlalchemy": {"store"},
    "typer": {"cli"},
    "rich": {"cli"},
    "numba": {"compiled.py", "vector.py"},
    "llvmlite": {"vector.py"},
    "prometheus_client": {"flow"},
    "river": {"detectors", "lab"},
}
"""Where alone a library is imported."""

_IMPURE = {"time", "random", "secrets", "os", "threading", "socket", "subprocess"}
_PURE_ROOMS = {"events", "baseline", "detectors", "calibrate", "decide", "alerts"}


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path):
    """Return the modules that a file imports, by their full names."""
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def _room(path):
    return path.relative_to(_SOURCE).parts[0]


def _functions(path):
    return [n for n in ast.walk(_tree(path)) if isinstance(n, ast.FunctionDef)]


def _code_lines(function):
    """Return the lines of a function without its docstring."""
    body = function.body
    documented = ast.get_docstring(function) is not None
    docstring = body[0].end_lineno - body[0].lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", _FILES, ids=_IDS)
def test_files_and_functions_fit_a_screen(path):
    """A file has one idea, a function fits a screen."""
    limit = _SCANNER_LINES_MAX if path == _SOURCE / _SCANNER else _FILE_LINES_MAX
    long = [f.name for f in _functions(path) if _code_lines(f) > _FUNCTION_LINES_MAX]

    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit
    assert long == [] or path == _SOURCE / _SCANNER


def test_half_of_all_functions_are_small():
    """The median function has at most eight lines of code."""
    sizes = sorted(_code_lines(function) for path in _FILES for function in _functions(path))

    assert sizes[len(sizes) // 2] <= 8


@pytest.mark.parametrize("path", _FILES, ids=_IDS)
def test_imports_point_one_way(path):
    """A room knows those before it, and never those after it."""
    room = _room(path).removesuffix(".py")
    if room in _COMMON | {"__init__"}:
        allowed = _COMMON
    else:
        last = _ASIDE.get(room, room)
        allowed = {*_ROOMS[: _ROOMS.index(last) + 1], room, *_COMMON}
        allowed |= {"alerts"} if "flow" in allowed else set()
    used = {name.split(".")[1] for name in _imports(path) if name.startswith("astray.")}

    assert used <= allowed


@pytest.mark.parametrize("path", _FILES, ids=_IDS)
def test_libraries_stay_in_their_rooms(path):
    """What is exchanged one day is imported in one room only."""
    strays = [
        name
        for name in _imports(path)
        if _room(path) not in _HOMES.get(name.split(".")[0], {_room(path)})
    ]

    assert strays == []


@pytest.mark.parametrize(
    "path", [p for p in _FILES if _room(p) in _PURE_ROOMS], ids=[i for i in _IDS if i.split("/")[0] in _PURE_ROOMS]
)  # fmt: skip
def test_what_computes_is_pure(path):
    """No clock, no chance, no environment in what a score depends on."""
    assert [name for name in _imports(path) if name.split(".")[0] in _IMPURE] == []
    assert not re.search(r"\.(now|today|utcnow)\(", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", _FILES, ids=_IDS)
def test_nothing_is_caught_wholesale(path):
    """Only errors that are known by name are caught."""
    caught = [
        ast.unparse(node.type) if node.type else "everything"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or re.search(r"\b(Base)?Exception\b", ast.unparse(node.type)))
    ]

    assert caught == []


@pytest.mark.parametrize("path", _FILES, ids=_IDS)
def test_exemptions_say_why(path):
    """A silenced check has its reason beside it."""
    silenced = re.findall(r"# (?:noqa|type: ignore)[^\n]*", path.read_text(encoding="utf-8"))
    unexplained = [
        note
        for note in silenced
        if "noqa" in note and not re.search(r"noqa: [A-Z0-9, ]+ ?\S", note)
    ]

    assert unexplained == []


def _modules():
    return [astray.__name__, *(m.name for m in pkgutil.walk_packages(astray.__path__, "astray."))]


@pytest.mark.parametrize("name", _modules())
def test_every_module_says_what_it_is_and_exports_what_it_has(name):
    """Each begins with a sentence; a list of exports is sorted and true."""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])

    assert (module.__doc__ or "").strip()
    assert [export for export in exported if not hasattr(module, export)] == []
    assert len(set(exported)) == len(exported)


def test_the_project_speaks_of_itself_alone():
    """No file has left-over marks of work in progress."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [path for path in _FILES if marks.search(path.read_text(encoding="utf-8"))]

    assert found == []
