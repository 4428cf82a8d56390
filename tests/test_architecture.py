# SPDX-License-Identifier: Apache-2.0
"""The house keeps its shape: floors know only what is below, one importer for each heavy package, small modules."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rbdump"
FLOORS = [
    "abi",
    "numbers",
    "errors",
    "findings",
    "memoryfile",
    "decompress",
    "inputs",
    "memo",
    "columns",
    "ring",
    "kernel",
    "symbols",
    "events",
    "render",
    "analysis",
    "cli",
]
"""From the ground up; `formats` is data and may be read by anyone."""
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports anywhere, TYPE_CHECKING blocks included: a type is knowledge as well."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def floor_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "rbdump" and len(parts) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_floor_knows_only_what_is_below(path: Path) -> None:
    own = floor_of(name_of(path))
    if own in (None, "__main__"):
        return
    assert own in FLOORS, f"{path.name}: {own} is not in FLOORS"
    for module in imports_of(path):
        other = floor_of(module)
        if other in FLOORS and other != own:
            assert FLOORS.index(other) < FLOORS.index(own), f"{name_of(path)} imports {module}, which lies above it"


def test_no_import_cycles() -> None:
    known = {name_of(path): path for path in MODULES}
    graph = {name: {m for m in imports_of(path) if m in known and m != name} for name, path in known.items()}
    graph.pop("rbdump")  # the package itself only re-exports
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "import cycle: " + " -> ".join([*trail, name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                if not name.startswith(other + "."):  # a package __init__ above its module is not a cycle
                    visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    ("package", "where"),
    [
        ("construct", {"rbdump.ring"}),
        ("typer", {"rbdump.cli"}),
        ("rich", {"rbdump.render.report", "rbdump.cli"}),
        ("elftools", {"rbdump.kernel"}),
    ],
)
def test_a_heavy_package_has_one_home(package: str, where: set[str]) -> None:
    users = {name_of(p) for p in MODULES if any(m == package or m.startswith(package + ".") for m in imports_of(p))}
    assert users, f"nobody imports {package}: is it still a dependency?"
    strangers = {u for u in users if not any(u == w or u.startswith(w + ".") for w in where)}
    assert not strangers


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_small(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= 400, f"{name_of(path)} has {lines} lines: is there a room to split off?"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_say_what_they_know(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"


@pytest.mark.parametrize(
    ("command", "idle"),
    [
        ("import rbdump.cli", "numpy"),
        ("import rbdump; rbdump.open({sample!r}).summary()", "rbdump.analysis.printing"),
        ("import rbdump; list(rbdump.open({sample!r}).lines())", "rbdump.events.filter"),
    ],
)
def test_what_a_run_does_not_need_is_not_imported(command: str, idle: str) -> None:
    sample = PACKAGE.parent / "samples" / "6.12.43-sched" / "region.bin.xz"
    script = f"import sys; {command.format(sample=str(sample))}; print({idle!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
