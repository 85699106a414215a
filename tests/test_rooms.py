"""A room imports only rooms before it, so that there is no circle among rooms; and modules import no circle within one.

Imports inside functions and for type checking count as well. ``python -m tests.test_rooms`` draws the rooms into
docs/architecture.svg and lists them in docs/architecture.md.
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import textwrap
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "architecture.svg"
TABLE = re.compile(r"(?<=<!-- rooms -->\n).*?(?=<!-- end of rooms -->)", re.DOTALL)
ROOMS = {  # in their order → what each knows
    "core": "no model: names, seeds, files, locks, errors, clock and token account, statistics",
    "tasks": "a data set: where its rows are and what a row means",
    "lm": "a language model and its texts: encode, generate, score, train",
    "baselines": "what is compared: objectives, estimators, the table of methods",
    "plan": "what is to be run: profiles, configuration, runs and their hashes",
    "run": "one run: the loop, its evaluator, judges and metrics, its directory",
    "start": "what all methods share, built once: tokenizer, π₀, reward model, judge",
    "reporting": "tables, plots and pages from run directories",
    "grid": "many runs: their processes, how they fare, which are finished",
    "engines": "many machines: bundles of runs, the queues that carry them out, what is heard of them",
    "studies": "questions to finished runs and to methods: search, speed, directions, interplay",
    "commands": "the user: one module a command",
}
ORDER = tuple(ROOMS)
TOP = ("baselines", "tasks")
ABOVE = ("benchmark/__main__.py", "benchmark/cli.py")  # they only find the command
LATER = {  # files that import modules of the project inside functions; the commands do, so that each starts at once
    "benchmark/__init__.py": "whoever asks for the version needs no pandas",
    "benchmark/cli.py": "plugins are loaded for commands that use them",
    "baselines/method.py": "methods are listed without loading what they are made of",
    "benchmark/reporting/__init__.py": "loaded with any of its parts, and `status` needs no plots",
    "benchmark/studies/speed/child.py": "what libraries print as they load must not get into its answer",
    "benchmark/studies/speed/measure.py": "TRL is loaded where it is measured, and nowhere else",
}
INK, FAINT, PAPER = "#1f2933", "#c3ccd5", "#eef2f6"


def modules() -> dict[str, Path]:
    """Dotted name → file of every module of the project."""
    files = [path for folder in ("benchmark", *TOP) for path in sorted((ROOT / folder).rglob("*.py"))]
    return {name_of(path): path for path in files}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, known: dict[str, Path], within: type | tuple[type, ...] = ast.Module) -> set[str]:
    """Modules of the project that the file imports, or that it imports ``within`` nodes of that kind."""
    found, tree = set(), ast.parse(path.read_text(encoding="utf-8"))
    for node in (inner for outer in ast.walk(tree) if isinstance(outer, within) for inner in ast.walk(outer)):
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


def doors(known: dict[str, Path]) -> dict[str, set[str]]:
    """Room → other rooms that its modules import."""
    found: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, path in known.items():
        if room(module) in found:
            found[room(module)] |= {room(target) for target in imports(path, known)} & ROOMS.keys() - {room(module)}
    return found


def needed(doors: dict[str, set[str]]) -> dict[str, set[str]]:
    """The doors that no way through other rooms replaces (the transitive reduction)."""
    below: dict[str, set[str]] = {}
    for name in ROOMS:
        below[name] = doors[name].union(*(below[target] for target in doors[name]))
    return {name: {target for target in targets if not any(target in below[other] for other in targets)}
            for name, targets in doors.items()}


def floors(walls: dict[str, set[str]]) -> dict[str, tuple[int, int, int, int]]:
    """Room → its lowest and highest floor, its place among the rooms beside it, and their number."""
    low: dict[str, int] = {}
    for name in ROOMS:
        low[name] = 1 + max((low[target] for target in walls[name]), default=-1)
    high = {name: min([low[other] - 1 for other in ROOMS if name in walls[other]], default=low[name]) for name in ROOMS}
    place: dict[str, int] = {}
    groups: list[list[str]] = []
    for name in sorted(ROOMS, key=low.__getitem__):
        if not groups or low[name] > max(high[other] for other in groups[-1]):
            groups.append([])
        taken = {place[other] for other in groups[-1] if high[other] >= low[name]}
        place[name] = min(set(range(len(ROOMS))) - taken)
        groups[-1].append(name)
    count = {name: 1 + max(place[other] for other in group) for group in groups for name in group}
    return {name: (low[name], high[name], place[name], count[name]) for name in ROOMS}


def picture(doors: dict[str, set[str]]) -> str:
    """The rooms as SVG: who stands on whom, and beside it every import."""
    walls = needed(doors)
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "svg.fonttype": "none", "svg.hashsalt": "rooms",
                                "text.color": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK}):
        figure = Figure((10, 7))
        _house(figure.add_axes((0.01, 0.01, 0.57, 0.92)), walls)
        _matrix(figure.add_axes((0.69, 0.09, 0.3, 0.69)), doors, walls)
        figure.text(0.01, 0.955, "The rooms; an arrow is an import", fontsize=11, fontweight="bold")
        figure.text(0.61, 0.955, "Every import: row imports column", fontsize=11, fontweight="bold")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r" +$", "", buffer.getvalue(), flags=re.MULTILINE)


def _house(axes: Axes, walls: dict[str, set[str]]) -> None:
    boxes: dict[str, tuple[float, float, float, float]] = {}  # left, right, bottom, top
    for name, (low, high, place, count) in floors(walls).items():
        left, right, top = place / count, (place + 1) / count - 0.03 * (place + 1 < count), high + 0.72
        boxes[name] = left, right, low, top
        axes.add_patch(Rectangle((left, low), right - left, top - low, facecolor=PAPER, edgecolor=INK, linewidth=0.8))
        lines = [name, *textwrap.wrap(ROOMS[name], int(92 * (right - left)))]
        for n, line in enumerate(lines):
            style = {"fontsize": 8} if n else {"fontsize": 10, "fontweight": "bold"}
            axes.text((left + right) / 2, (low + top) / 2 + 0.2 * ((len(lines) - 1) / 2 - n), line, ha="center",
                      va="center", **style)
    for name, target in sorted((name, target) for name, targets in walls.items() for target in targets):
        (left, right, bottom, _), (other_left, other_right, _, top) = boxes[name], boxes[target]
        x = (max(left, other_left) + min(right, other_right)) / 2
        axes.add_patch(FancyArrowPatch((x, bottom), (x, top), arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0,
                                       color=INK))
    axes.set(xlim=(-0.005, 1.005), ylim=(-0.05, 0.05 + max(top for *_, top in boxes.values())))
    axes.axis("off")


def _matrix(axes: Axes, doors: dict[str, set[str]], walls: dict[str, set[str]]) -> None:
    for (row, name), (column, target) in itertools.product(enumerate(ORDER), enumerate(ORDER)):
        if column >= row:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=PAPER, edgecolor="white"))
        elif target in doors[name]:
            axes.plot([column], [row], "o", markersize=8, color=INK if target in walls[name] else FAINT)
    ends, ticks = (-0.5, len(ORDER) - 0.5), range(len(ORDER))
    axes.set(xlim=ends, ylim=ends)
    axes.set_xticks(ticks, ORDER, rotation=90, fontsize=9)
    axes.set_yticks(ticks, ORDER, fontsize=9)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("dark: an arrow on the left\nlight: an import besides\nshaded: would lead up", fontsize=8)


def table(known: dict[str, Path], doors: dict[str, set[str]]) -> str:
    """The rooms as a Markdown table."""
    lines = ["| room | knows | files | imports |", "|---|---|---|---|"]
    for name, knows in ROOMS.items():
        folder = ROOT / name if name in TOP else ROOT / "benchmark" / name
        inside = [path.relative_to(folder).parts for path in known.values() if path.is_relative_to(folder)]
        files = sorted({parts[0].removesuffix(".py") for parts in inside if len(parts) == 1} - {"__init__"})
        files += sorted({f"{parts[0]}/" for parts in inside if len(parts) > 1})
        targets = " ".join(target for target in ORDER if target in doors[name]) or "nothing"
        link = f"[`{name}`](../{folder.relative_to(ROOT).as_posix()})"
        lines.append(f"| {link} | {knows} | {' '.join(files)} | {targets} |")
    return "\n".join(["", *lines, "", ""])


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


def test_imports_stand_at_the_top_of_a_file():
    known = modules()
    later = {path.relative_to(ROOT).as_posix() for path in known.values()
             if imports(path, known, (ast.FunctionDef, ast.AsyncFunctionDef))}
    assert {name for name in later if not name.startswith("benchmark/commands/")} == LATER.keys(), (
        "imported inside a function: move it to the top, or say why not in LATER. Only in LATER: take it off the list")


def test_picture_and_table_are_what_the_imports_say():
    known = modules()
    found = doors(known)
    stands = PICTURE.read_text(encoding="utf-8"), TABLE.findall(PAGE.read_text(encoding="utf-8"))
    fresh = stands == (picture(found), [table(known, found)])
    assert fresh, "rooms have changed: python -m tests.test_rooms"


def test_files_are_short():
    long = {path.relative_to(ROOT).as_posix(): lines for folder in ("benchmark", *TOP, "tests")
            for path in (ROOT / folder).rglob("*.py") if (lines := len(path.read_text().splitlines())) > 350}
    assert long == {}


def write() -> None:
    """Draw the picture and fill in the table."""
    known = modules()
    found = doors(known)
    PICTURE.write_text(picture(found), encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(known, found), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
