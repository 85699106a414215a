"""A room imports only rooms before it, so that there is no circle among rooms; and modules import no circle within one.

Imports inside functions and for type checking count as well.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = ("core", "tasks", "lm", "baselines", "plan", "run", "start", "reporting", "grid", "studies", "commands")
TOP = ("baselines", "tasks")
ABOVE = ("benchmark/__main__.py", "benchmark/cli.py")  # they only find the command


def modules() -> dict[str, Path]:
    """Dotted name → file of every module of the project."""
    files = [path for folder in ("benchmark", *TOP) for path in sorted((ROOT / folder).rglob("*.py"))]
    return {name_of(path): path for path in files}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the project that the file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return found & known.keys()


def room(module: str) -> str:
    """core, lm, … or one of the other top-level packages."""
    parts = module.split(".")
    return parts[0] if parts[0] in TOP else parts[1] if len(parts) > 1 else ""


def test_rooms_import_only_rooms_before_them():
    known = modules()
    below = {module: path for module, path in known.items()
             if path.relative_to(ROOT).as_posix() not in ABOVE and room(module)}
    wrong = [f"{module} imports {target}" for module, path in below.items() for target in imports(path, known)
             if room(target) and ORDER.index(room(target)) > ORDER.index(room(module))]
    assert wrong == []


def test_no_module_takes_part_in_a_circle():
    known = modules()
    graph = {module: imports(path, known) for module, path in known.items()}
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join([*way[way.index(module):], module])
        if module not in done:
            for target in sorted(graph[module] - {module}):
                walk(target, (*way, module))
            done.add(module)

    for module in graph:
        walk(module, ())


def test_files_are_short():
    long = {path.relative_to(ROOT).as_posix(): lines for folder in ("benchmark", *TOP, "tests")
            for path in (ROOT / folder).rglob("*.py") if (lines := len(path.read_text().splitlines())) > 350}
    assert long == {}
