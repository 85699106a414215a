"""Search spaces, one data file a kind of adapter, and the trials that a quasi-random search takes from them.

A space searches few hyperparameters and fixes others with a reason: in many dimensions few quasi-random points are
collinear, and a search then cannot tell which of them mattered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from baselines.registry import get_method
from benchmark.core.errors import ConfigError
from benchmark.core.naming import check_name
from benchmark.core.seeding import derive_seed
from benchmark.plan.plugins import brought
from benchmark.plan.resolve import read_toml

SPACES = Path(__file__).parent / "spaces"
TABLES = ("shared", "warm_start", "methods")
DIGITS = 3  # significant digits of a sampled value: what a table shows is what was run
EDGE = 1 / 8  # a value in the first or last eighth of its range (in the logarithm) lies at its edge
EXTENSION = 10.0  # factor by which an end of a range is moved outwards
EXTENSIONS = 2  # how often an end may be moved


@dataclass(frozen=True)
class Dimension:
    """One searched hyperparameter: its range from ``low`` to ``high``, sampled in the logarithm, or its ``values``.

    Attributes:
        least: the smallest value that the hyperparameter takes. moved: how often its low and its high end were moved.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()
    least: float | None = None
    moved: tuple[int, int] = (0, 0)

    @property
    def ordered(self) -> bool:
        """Whether there is a smaller and a larger, so that it has edges: not so for words and switches."""
        return not self.values or all(type(value) in (int, float) for value in self.values)

    @property
    def ends(self) -> tuple[Any, Any]:
        return (self.values[0], self.values[-1]) if self.values else (self.low, self.high)

    def at(self, share: float) -> Any:
        """The value at ``share`` of the way through the range, in [0, 1); all ``values`` are equally wide."""
        if self.values:
            return self.values[int(share * len(self.values))]
        value = self.low * (self.high / self.low) ** share
        return min(self.high, max(self.low, float(f"{value:.{DIGITS - 1}e}")))

    def edge(self, value: Any, tried: Sequence[Any]) -> int:
        """−1 or 1 where ``value`` lies at the low or the high edge or beyond, 0 elsewhere.

        The edge of a range is its first or last eighth in the logarithm, and the smallest and largest value ``tried``;
        that of ordered values the first or last of them. Where the hyperparameter has no value beyond, there is no
        edge: 1 update on a rollout has none below.
        """
        if not self.ordered or (self.values and len(self.values) == 1):
            return 0
        if self.values:
            side = -1 if value <= self.values[0] else int(value >= self.values[-1])
        else:
            share = math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else 0.0
            side = (-1 if share <= EDGE or value <= min(tried, default=0.0) else
                    int(share >= 1 - EDGE or value >= max(tried, default=math.inf)))
        return side if side and self.beyond(side) is not None else 0

    def beyond(self, side: int) -> Any:
        """The next end on that side: a decade further; of values, as far as the last two lie apart, as a ratio."""
        if not self.values:
            new = self.high * EXTENSION if side > 0 else self.low / EXTENSION
        else:
            last, other = (self.values[-1], self.values[-2]) if side > 0 else self.values[:2]
            if last <= 0 or other <= 0:
                return None
            new = last * last / other
            if isinstance(last, int):
                if new != int(new):
                    return None
                new = int(new)
        new = new if isinstance(new, int) else float(f"{new:.{DIGITS - 1}e}")
        return None if self.least is not None and new < self.least else new

    def extended(self, side: int) -> tuple[Dimension, Dimension] | None:
        """The range with that end moved outwards, and the new part of it alone; None if it was moved often enough."""
        index, end = (1, self.high) if side > 0 else (0, self.low)
        if self.moved[index] >= EXTENSIONS:
            return None
        new = self.beyond(side)
        moved = (self.moved[0] + (side < 0), self.moved[1] + (side > 0))
        if self.values:
            values = (*self.values, new) if side > 0 else (new, *self.values)
            return replace(self, values=values, moved=moved), replace(self, values=(new,))
        low, high = (self.low, new) if side > 0 else (new, self.high)
        return replace(self, low=low, high=high, moved=moved), replace(self, low=min(end, new), high=max(end, new))


@dataclass(frozen=True)
class Space:
    """What a search of a method looks through.

    Attributes:
        dimensions: what is searched. fixed: what every trial but the published one has beside it.
    """

    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [*(dimension.name for dimension in self.dimensions), *self.fixed]

    def without(self, names: Any) -> Space:
        """The space less what something else decides."""
        return Space(tuple(d for d in self.dimensions if d.name not in names),
                     {name: value for name, value in self.fixed.items() if name not in names})

    def points(self, count: int, *seed: object) -> list[dict[str, Any]]:
        """The first ``count`` points of a scrambled Halton sequence (Halton 1960; scrambled as in Owen 2017, arXiv
        1706.02808), a quasi-random search as in AlgoPerf (Dahl et al. 2023, arXiv 2306.07179): all are known
        beforehand, and the first stay what they are when ``count`` grows."""
        if count < 1:
            return []
        stream = np.random.default_rng(derive_seed("tuning", *seed))
        shares = qmc.Halton(len(self.dimensions), scramble=True, rng=stream).random(count)
        return [{d.name: d.at(float(share)) for d, share in zip(self.dimensions, row, strict=True)} | dict(self.fixed)
                for row in shares]

    def edges(self, values: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Dimension → side, of those at whose edge ``values`` lie: none of them, and the optimum is bracketed.

        Args:
            tried: the points of this space that were tried.
        """
        return {d.name: side for d in self.dimensions
                if (side := d.edge(values[d.name], [point[d.name] for point in tried]))}

    def extended(self, values: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]) -> tuple[Space, dict[str, Space]]:
        """The space with the edges at which ``values`` lie moved outwards, and for each of these dimensions the new
        part: that dimension beyond its old end, the others anywhere."""
        edges = self.edges(values, tried)
        found = {d.name: pair for d in self.dimensions if d.name in edges and (pair := d.extended(edges[d.name]))}
        whole = replace(self, dimensions=tuple(found[d.name][0] if d.name in found else d for d in self.dimensions))
        parts = {name: replace(whole, dimensions=tuple(new if d.name == name else d for d in whole.dimensions))
                 for name, (_, new) in found.items()}
        return whole, parts


def read_spaces(kind: str, folder: Path = SPACES) -> dict[str, dict[str, Any]]:
    """The tables of ``<folder>/<kind>.toml``: shared, warm_start and methods.

    Raises:
        ConfigError: no such file, or an unknown table or method.
    """
    tables = read_toml(folder / f"{kind}.toml", f"search spaces {kind}.toml (adapter.kind = {kind})")
    for table in tables:
        check_name(table, TABLES, f"table in {kind}.toml")
    tables = {name: tables.get(name, {}) for name in TABLES}
    for method in (*tables["methods"], *tables["warm_start"]):
        get_method(method)
    return tables


def load_space(method: str, kind: str, warm: bool = False, folder: Path = SPACES) -> Space:
    """The search space of ``method``, or of its warm start, where ``kind`` of adapter is trained.

    The method's own table, above that of the method that it is ``like``, or else of its base; without what makes the
    method what it is (its row's ``defaults``), and with what is fixed for all that have it (``shared``). A plugin
    brings the tables of its methods in ``spaces/KIND.toml`` beside it.

    Raises:
        ConfigError: there is none; an unknown hyperparameter or key, a value that the hyperparameter does not take,
            low ≥ high, no source.
    """
    tables, row, place = read_spaces(kind, folder), get_method(method), f"{kind}.toml: {method}"
    plugin = brought("method", method)
    if plugin and (plugin.folder / "spaces" / f"{kind}.toml").is_file():
        tables = {name: tables[name] | more for name, more in read_spaces(kind, plugin.folder / "spaces").items()}
    mine = tables["warm_start" if warm else "methods"]
    entries, own = _entries(method, mine), mine.get(method, {})
    if not entries:
        raise ConfigError(f"{place} has no search space for adapter.kind = {kind}. Give it a table in "
                          f"benchmark/studies/tuning/spaces/{kind}.toml (docs/adding.md).")
    dimensions, fixed = list[Dimension](), dict[str, Any]()
    for name, entry in (entries if warm else entries | {k: v for k, v in tables["shared"].items() if k not in entries}
                        ).items():
        if name not in own and (name not in row.fields() or name in row.defaults):
            continue
        found = _entry(method, name, entry, f"{place}.{name}")
        if isinstance(found, Dimension):
            dimensions.append(found)
        else:
            fixed |= found
    if not dimensions:
        raise ConfigError(f"{place} searches nothing. Give a hyperparameter a range (low, high) or values.")
    return Space(tuple(dimensions), fixed)


def _entries(method: str, tables: dict[str, Any]) -> dict[str, Any]:
    own = dict(tables.get(method, {}))
    like = own.pop("like", get_method(method).base)
    return (_entries(get_method(like).name, tables) if like else {}) | own


def _entry(method: str, name: str, entry: Any, place: str) -> Dimension | dict[str, Any]:
    """A table {low, high}, {values} or {value}, each with a source."""
    row = get_method(method)
    spec = row.fields()[check_name(name, row.fields(), f"hyperparameter of {place.rpartition('.')[0]}")]
    keys = set(entry) if isinstance(entry, dict) else set()
    if keys not in ({"source", "low", "high"}, {"source", "values"}, {"source", "value"}):
        raise ConfigError(f"{place} takes a table with source and low and high, or values, or value, not {entry!r}.")
    if not isinstance(entry["source"], str) or not entry["source"].strip():
        raise ConfigError(f"{place}.source takes text that says where the range comes from, not {entry['source']!r}.")

    def checked(value: Any) -> Any:
        return row.check({name: value}, place)[name]

    least = spec.metadata.get("minimum")
    if "value" in entry:
        return {name: checked(entry["value"])}
    if "values" in entry:
        values = tuple(map(checked, entry["values"] if isinstance(entry["values"], list) else []))
        dimension = Dimension(name, values=values, least=least)
        if len(values) < 2 or len(set(values)) < len(values) or (dimension.ordered and list(values) != sorted(values)):
            raise ConfigError(f"{place}.values takes a list of at least two different values, numbers in ascending "
                              f"order, not {entry['values']!r}.")
        return dimension
    if spec.type is not float:
        raise ConfigError(f"{place} is no real number: list its values.")
    low, high = checked(entry["low"]), checked(entry["high"])
    if not 0 < low < high:
        raise ConfigError(f"{place} needs 0 < low < high, not {low:g} and {high:g}.")
    return Dimension(name, low, high, least=least)


def check_completions(space: Space, place: str, sequences: int) -> None:
    """ConfigError if a space holds a number of completions per prompt that does not divide ``sequences`` an update."""
    counts = [space.fixed["k"]] if "k" in space.fixed else []
    counts += [k for d in space.dimensions if d.name == "k" for k in d.values]
    if wrong := [k for k in counts if sequences % k]:
        raise ConfigError(f"search space of {place}: k = {wrong[0]} does not divide loop.sequences_per_update = "
                          f"{sequences}. Change one of them.")
