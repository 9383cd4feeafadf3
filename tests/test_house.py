"""The house itself: import directions of the design, light imports, small modules, no machine's name in the tree."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("pipelines", "models", "fusion", "ingest", "workers")
MAY_IMPORT = {
    "workers": {"workers", "pipelines", "models", "ingest"},  # ingest and models through what a pipeline hands on
    "pipelines": {"pipelines", "models", "ingest"},
    "models": {"models", "fusion"},
    "fusion": {"fusion"},
    "ingest": {"ingest"},
}


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "shipped" not in path.parts)


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_in_one_direction(room: str) -> None:
    for path in modules(ROOT / room):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "gridscribe" and len(parts) > 1 and parts[1] in ROOMS:
                assert parts[1] in MAY_IMPORT[room], f"{path.relative_to(ROOT)} imports {name}"


def test_the_face_reaches_rooms_only_inside_commands() -> None:
    for path in modules(ROOT / "gridscribe"):
        for name in imported(path, top_level_only=True):
            parts = name.split(".")
            assert not (parts[0] == "gridscribe" and len(parts) > 1 and parts[1] in ROOMS), f"{path}: {name}"


@pytest.mark.parametrize(
    "code",
    [
        "import gridscribe",
        "import gridscribe.cli",
        "from gridscribe import Client",
    ],
)
def test_the_face_loads_neither_torch_nor_ray(code: str) -> None:
    check = (
        f"{code}; import sys; print([m for m in ('torch', 'ray', 'mmseg', 'mmengine', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_stay_small() -> None:
    sizes = {p: len(p.read_text().splitlines()) for room in (*ROOMS, "gridscribe") for p in modules(ROOT / room)}
    assert not [f"{p.relative_to(ROOT)}: {n}" for p, n in sizes.items() if n > 400]
    assert sum(n > 300 for n in sizes.values()) <= len(sizes) // 10


def test_every_public_module_says_what_it_holds() -> None:
    for room in (*ROOMS, "gridscribe"):
        for path in modules(ROOT / room):
            tree = ast.parse(path.read_text())
            assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} has no docstring"


def test_a_wheel_holds_every_package() -> None:
    """An editable install, which every other test runs in, would not notice a package that the wheel lacks."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"gridscribe"}
    for room in (*ROOMS, "configs", "gridscribe"):
        for path in (ROOT / room).rglob("__init__.py"):
            parts = path.parent.relative_to(ROOT).parts
            found.add(".".join(parts if room == "gridscribe" else ("gridscribe", *parts)))
    assert sorted(found) == listed
