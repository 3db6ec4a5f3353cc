"""The rooms of the house: which may import which, and how large a file and a function may grow."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lop_lightning

ROOT = Path(lop_lightning.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
LINES, FUNCTION_LINES = 260, 80

GROUND = {"console", "errors", "randomness", "trees"}
MAY_IMPORT = {  # the rooms of the library that each room knows, besides itself
    "console": {"errors"},
    "errors": set(),
    "randomness": set(),
    "trees": set(),
    "metrics": set(),
    "networks": GROUND,
    "optimizers": {*GROUND, "networks"},
    "layers": {*GROUND, "networks"},
    "tasks": {*GROUND, "networks"},
    "algos": {*GROUND, "networks", "optimizers", "tasks.base"},
    "records": {*GROUND, "__init__"},
    "callbacks": {*GROUND, "metrics", "networks", "optimizers", "algos", "tasks", "records"},
    "config": {*GROUND},
    "prepare": {*GROUND, "tasks"},
    "analysis": {*GROUND, "metrics", "networks", "tasks", "records", "config"},
    "report": {*GROUND, "metrics", "records", "analysis"},
    "wandb_tools": {*GROUND, "records", "analysis", "report"},
    "launch": {*GROUND, "tasks", "records", "callbacks", "config", "analysis", "report", "experiment"},
}
PLAIN_TORCH = ("metrics", "networks", "optimizers", "layers")


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of everything that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names if not node.level)


def room_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_room_imports_only_from_the_floors_below(path):
    room = room_of(path)
    if room not in MAY_IMPORT:
        pytest.skip("the top floor imports everything")
    for name in imported(TREES[path]):
        library, _, inner = name.partition(".")
        if library != "lop_lightning":
            continue
        parts = inner.split(".") if inner else ["__init__"]
        if (ROOT / parts[0]).is_dir() or (ROOT / f"{parts[0]}.py").exists():
            known = {parts[0], ".".join(parts[:2])}
        else:
            known = {"__init__"}
        assert parts[0] == room or known & MAY_IMPORT[room], f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) in PLAIN_TORCH], ids=name_of)
def test_the_ground_floor_knows_no_lightning(path):
    assert not [name for name in imported(TREES[path]) if name.split(".")[0] in ("lightning", "pytorch_lightning")]


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) == "algos"], ids=name_of)
def test_a_method_never_asks_what_it_trains_or_on_what(path):
    networks = classes_below("networks", "Network")
    streams = classes_below("tasks", "TaskStream") | {"Task", "StackedTask"}
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            asked = {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node.args[1])}
            assert not asked & (networks | streams), f"{name_of(path)}:{node.lineno}"


def classes_below(room: str, base: str) -> set[str]:
    """Names of the classes of a room that are, by name, ``base`` or derived from it."""
    bases = {
        node.name: {getattr(b, "id", getattr(b, "attr", "")) for b in node.bases}
        for path in FILES
        if room_of(path) == room
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.ClassDef)
    }
    found, before = {base}, set()
    while found != before:
        before = set(found)
        found |= {name for name, parents in bases.items() if parents & found}
    assert len(found) > 1
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_small(path):
    assert len(path.read_text().splitlines()) <= LINES
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < FUNCTION_LINES, f"{name_of(path)}: {node.name}"


def test_every_room_has_its_floor():
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms <= set(MAY_IMPORT) | {"conf"}
