"""Search spaces, one data file a method, and the trials that a quasi-random search takes from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from baselines.registry import get_method
from benchmark.core.errors import ConfigError
from benchmark.core.naming import check_name
from benchmark.core.seeding import derive_seed
from benchmark.plan.resolve import read_toml

SPACES = Path(__file__).parent / "spaces"
KEYS = {"log": ("low", "high"), "linear": ("low", "high"), "choice": ("values",)}
DIGITS = 3  # significant digits of a sampled value: what a table shows is what was run


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter's range (``kind`` log or linear: ``low`` to ``high``) or its ``values`` (``kind`` choice)."""

    name: str
    kind: str
    source: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()

    def at(self, share: float) -> Any:
        """The value at ``share`` of the way through the range, in [0, 1); for choices all are equally wide."""
        if self.kind == "choice":
            return self.values[int(share * len(self.values))]
        if self.kind == "log":
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return min(self.high, max(self.low, float(f"{value:.{DIGITS - 1}e}")))

    def contains(self, value: Any) -> bool:
        return value in self.values if self.kind == "choice" else self.low <= value <= self.high


def searchable(folder: Path = SPACES) -> list[str]:
    """Methods that have a search space, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_space(method: str, folder: Path = SPACES) -> tuple[Dimension, ...]:
    """The search space of ``method``: one dimension per table of ``<folder>/<method>.toml``, in the file's order; of a
    method without a file, that of its base as far as it has its hyperparameters and does not set them.

    Raises:
        ConfigError: no such file, unknown hyperparameter or key, a value that the hyperparameter does not take,
            low ≥ high, no source, or a published default outside the space.
    """
    row = get_method(method)
    if method not in searchable(folder) and row.base:
        return tuple(d for d in load_space(row.base, folder) if d.name in row.fields() and d.name not in row.defaults)
    check_name(method, searchable(folder), "method with a search space (benchmark/studies/tuning/spaces)")
    path = folder / f"{method}.toml"
    tables = read_toml(path, f"search space {path.name}")
    if not tables:
        raise ConfigError(f"search space {path.name}: it is empty. Give at least one hyperparameter a table.")
    return tuple(_dimension(method, name, table, path.name) for name, table in tables.items())


def _dimension(method: str, name: str, table: Any, file: str) -> Dimension:
    place = f"{file}: {name}"
    spec = get_method(method).fields()[check_name(name, get_method(method).fields(), f"hyperparameter in {file}")]
    if not isinstance(table, dict):
        raise ConfigError(f"{place} takes a table with kind, source and a range or values, not {table!r}.")
    kind = check_name(str(table.get("kind", "")), KEYS, f"kind of {name} in {file}")
    for key in table:
        check_name(key, ["kind", "source", *KEYS[kind]], f"key of {name} in {file}")
    for key in ("source", *KEYS[kind]):
        if key not in table:
            raise ConfigError(f"{place} has no {key}. Every range says where it comes from." if key == "source" else
                              f"{place} has no {key}, which kind = {kind!r} needs.")
    source = table["source"]
    if not isinstance(source, str) or not source.strip():
        raise ConfigError(f"{place}.source takes text that says where the range comes from, not {source!r}.")

    def checked(key: str, value: Any) -> Any:
        return get_method(method).check({name: value}, f"{file}, {key}")[name]

    if kind == "choice":
        given = table["values"] if isinstance(table["values"], list) else []
        values = tuple(checked("values", value) for value in given)
        if len(values) < 2 or len(set(values)) < len(values):
            raise ConfigError(f"{place}.values takes a list of at least two different values, not {table['values']!r}.")
        dimension = Dimension(name, kind, source, values=values)
    else:
        if spec.type is not float:
            raise ConfigError(f"{place} is no real number: use kind = 'choice' and list its values.")
        low, high = (checked(key, table[key]) for key in ("low", "high"))
        if low >= high or (kind == "log" and low <= 0):
            raise ConfigError(f"{place} needs {'0 < ' if kind == 'log' else ''}low < high, not {low:g} and {high:g}.")
        dimension = Dimension(name, kind, source, low, high)
    default = get_method(method).resolved({})[name]
    if not dimension.contains(default):
        raise ConfigError(f"{place}: the published value {default!r} lies outside. Widen the space to hold it.")
    return dimension


def trial_values(method: str, count: int, seed: int, folder: Path = SPACES) -> list[dict[str, Any]]:
    """The searched hyperparameters of the first ``count`` trials of ``method``.

    Trial 0 is the published setting. The others are the points of a scrambled Halton sequence (Halton 1960; scrambled
    as in Owen 2017, arXiv 1706.02808), a quasi-random search as in AlgoPerf (Dahl et al. 2023, arXiv 2306.07179): all
    are known beforehand, and the first trials stay what they are when ``count`` grows.
    """
    space = load_space(method, folder)
    published = get_method(method).resolved({})
    trials = [{d.name: published[d.name] for d in space}]
    if count > 1:
        stream = np.random.default_rng(derive_seed("tuning", method, seed))
        points = qmc.Halton(len(space), scramble=True, rng=stream).random(count - 1)
        trials += [{d.name: d.at(share) for d, share in zip(space, map(float, point), strict=True)} for point in points]
    return trials


def check_completions(methods: list[str], sequences: int, folder: Path = SPACES) -> None:
    """ConfigError if a space holds a number of completions per prompt that does not divide ``sequences`` an update."""
    for method in methods:
        for dimension in load_space(method, folder):
            wrong = [k for k in dimension.values if sequences % k] if dimension.name == "k" else []
            if wrong:
                raise ConfigError(f"search space {method}.toml: k = {wrong[0]} does not divide "
                                  f"loop.sequences_per_update = {sequences}. Change one of them.")
