"""Plugins: methods, their parts, tasks and judges from elsewhere.

A plugin is a module that adds lines to the tables of :mod:`baselines.registry` and :mod:`tasks`, or to
:data:`benchmark.core.sections.JUDGES`, when it is imported: one that an installed package names under an entry point of
a group in :data:`GROUPS`, or a file that the user names. Only commands that run, or read a method's definition, load
them; no report does.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from baselines.method import FirstOrder, Method, OnePiece
from baselines.registry import DIRECTIONS, ESTIMATORS, METHODS, OBJECTIVES, PROBES, RULES
from benchmark.core.digests import sources_digest
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.naming import load
from benchmark.core.paths import NAME
from benchmark.core.sections import JUDGES
from tasks import TASKS

GROUPS = ("zo_benchmark.methods", "zo_benchmark.tasks", "zo_benchmark.judges")
TABLES: dict[str, dict[str, Any]] = {
    "objective": OBJECTIVES, "direction": DIRECTIONS, "probe": PROBES, "rule": RULES, "estimator": ESTIMATORS,
    "method": METHODS, "task": TASKS, "judge": JUDGES}


@dataclass(frozen=True)
class Plugin:
    """What was loaded from elsewhere.

    Attributes:
        name: of the module.
        origin: name and version of its distribution; "a file" if it has none.
        digest: first 16 hexadecimal digits of the sha256 of its code: of the file, or of the whole package.
        added: (table, name) of every line that it brought.
        folder: where it lies; search spaces of its methods are in ``spaces/KIND.toml`` there.
        file: the file that the user named, else empty.
    """

    name: str
    origin: str
    digest: str
    added: frozenset[tuple[str, str]]
    folder: Path
    file: str = ""


LOADED: dict[str, Plugin] = {}  # by name


def load_plugins(files: Iterable[str | Path]) -> None:
    """Load the plugins of installed packages, then ``files``; what is loaded already is left as it is.

    Raises:
        ConfigError: one cannot be loaded, adds nothing, or something that cannot be; names it and what to do.
    """
    for entry in sorted({entry for group in GROUPS for entry in metadata.entry_points(group=group)},
                        key=lambda entry: entry.value):
        module = entry.value.partition(":")[0]
        if module not in LOADED:
            origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
            _adopt(module, origin, entry.load)
    for file in map(Path, files):
        if str(file.resolve()) not in {plugin.file for plugin in LOADED.values()}:
            _adopt(file.stem, "a file", partial(_import_file, file), str(file.resolve()))


def load_again(plugins: Iterable[Plugin]) -> None:
    """Load in a new process what another one has loaded.

    Raises:
        ConfigError: as :func:`load_plugins`; or a plugin's code has changed since, so that results would bear the name
            of what they are not of.
    """
    plugins = list(plugins)
    if not plugins:
        return
    load_plugins(plugin.file for plugin in plugins if plugin.file)
    if changed := [plugin.name for plugin in plugins if LOADED[plugin.name].digest != plugin.digest]:
        raise ConfigError(f"plugin {', '.join(changed)}: its code has changed since the command began. Repeat the "
                          f"command.")


def plugins_of(task: str, method: str, judge: str) -> dict[str, str]:
    """Name → origin and digest of the plugins that brought the task, the method or a part of it, or the judge."""
    row = METHODS[method]
    estimator = row.estimator
    parts = {("task", task), ("method", method), ("judge", judge), ("objective", row.objective)}
    if isinstance(estimator, OnePiece):
        parts.add(("estimator", estimator.part))
    else:
        parts.add(("rule", estimator.rule))
        if not isinstance(estimator, FirstOrder):
            parts |= {("direction", estimator.direction), ("probe", estimator.probe)}
    return {name: f"{plugin.origin}, {plugin.digest}" for name, plugin in sorted(LOADED.items())
            if plugin.added & parts}


def brought(table: str, name: str) -> Plugin | None:
    """The plugin that brought ``name``, if one did."""
    return next((plugin for plugin in LOADED.values() if (table, name) in plugin.added), None)


def _adopt(name: str, origin: str, bring: Callable[[], Any], file: str = "") -> None:
    """Import a plugin and note what it added; if it cannot be used, the tables are as they were."""
    before = {kind: dict(table) for kind, table in TABLES.items()}
    try:
        bring()
        added = frozenset((kind, key) for kind, table in TABLES.items() for key in table if key not in before[kind])
        _check(name, before, added)
    except Exception as error:
        for kind, table in TABLES.items():
            table.clear()
            table.update(before[kind])
        if isinstance(error, BenchmarkError):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        where = f", line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""
        raise ConfigError(f"plugin {name}: cannot be loaded{where}: {type(error).__name__}: {error}.") from error
    place, top = Path(sys.modules[name].__file__ or "").resolve(), sys.modules[name.partition(".")[0]]
    root, code = place.parent, [place]
    if hasattr(top, "__path__"):  # a package; one without __init__.py may be spread over several distributions
        root = Path(top.__file__).resolve().parent if top.__file__ else root
        code = sorted(root.rglob("*.py"))
    LOADED[name] = Plugin(name, origin, sources_digest(root, code), added, place.parent, file)


def _import_file(file: Path) -> None:
    """The module of a file under the file's name, so that parts can be named ``"file:Class"``."""
    if not file.is_file() or file.suffix != ".py":
        raise ConfigError(f"--plugin {file}: no such Python file. Pass the path of a .py file.")
    there = importlib.util.find_spec(file.stem) if file.stem.isidentifier() else None
    itself = there and there.origin and Path(there.origin).resolve() == file.resolve()  # in the folder one works in
    if not file.stem.isidentifier() or (there and not itself):
        raise ConfigError(f"--plugin {file}: {file.stem} is no name for a module, or that of another one. Rename the "
                          f"file.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # parts are found, and pickled, by this name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[file.stem]
        raise


def _check(name: str, before: dict[str, dict[str, Any]], added: frozenset[tuple[str, str]]) -> None:
    """ConfigError if a plugin replaced something, added nothing, or something that cannot be used."""
    for kind, table in TABLES.items():
        if taken := [key for key, value in before[kind].items() if table.get(key) is not value]:
            raise ConfigError(f"plugin {name}: the {kind} {taken[0]} is there already, and a plugin replaces nothing. "
                              f"Give yours another name.")
    if not added:
        raise ConfigError(f"plugin {name}: it adds nothing to the tables of baselines.registry and tasks, nor to "
                          f"JUDGES (docs/plugins.md).")
    for kind, key in sorted(added):
        row = TABLES[kind][key]
        if not NAME.fullmatch(key):
            raise ConfigError(f"plugin {name}: {kind} {key!r}: a name has letters, digits, '.', '_' and '-' only.")
        if kind == "task":
            if load(row).name != key:
                raise ConfigError(f"plugin {name}: task {key}: the adapter calls itself {load(row).name!r}. Give both "
                                  f"one name.")
        elif kind == "method":
            if not isinstance(row, Method) or row.name != key:
                raise ConfigError(f"plugin {name}: method {key}: expected a Method of that name.")
            row.resolved({})  # its parts are in the tables
        elif kind == "judge" and not all(str(row).partition(":")):
            raise ConfigError(f"plugin {name}: judge {key}: expected \"module:Class\", not {row!r}.")
