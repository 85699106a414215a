"""What a search is made of: methods that are searched, those that take their settings from others, and warm starts.

A warm start is searched by itself, as the method's first iterations alone, and once for all methods that begin with it;
the rest of each method is searched after it, with the warm start fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from baselines import hyperparameters as hp
from baselines.method import Method
from baselines.registry import OBJECTIVES, get_method
from benchmark.core.errors import ConfigError
from benchmark.core.fields import fields_of
from benchmark.studies.tuning.spaces import SPACES, read_spaces

WARM_START, METHOD = "warm_start", "method"  # stages


@dataclass(frozen=True)
class Subject:
    """One search: of a method's warm start, or of the (rest of the) method."""

    method: str
    stage: str = METHOD

    @property
    def warm(self) -> bool:
        return self.stage == WARM_START

    def __str__(self) -> str:
        return f"{self.method} {self.stage.replace('_', ' ')}" if self.warm else self.method


def warm_owner(row: Method) -> str:
    """The method whose warm start ``row`` begins with: its ``start``, or the first of its bases that has one."""
    if row.start:
        return row.start.name
    base = get_method(row.base) if row.base else None
    return warm_owner(base) if base and base.warm_start else row.name


def warm_names(row: Method) -> list[str]:
    """Hyperparameters that the warm start of ``row`` decides: its objective's, and the warm start's own."""
    return [*fields_of(OBJECTIVES[row.objective].settings, hp.WarmStartSettings)]


def searched_as(name: str, kind: str, folder: Path = SPACES) -> str | None:
    """The method whose search decides the settings of ``name``: itself; for a control or a variant without a space of
    its own, its base; None for a control that has the published settings whatever is found."""
    row = get_method(name)
    if name in read_spaces(kind, folder)["methods"]:
        return name
    if row.variant:
        return searched_as(row.variant.name, kind, folder)
    if row.group == "ablation":
        return searched_as(row.base, kind, folder) if row.base else None
    return name


def subjects(methods: list[str], kind: str, folder: Path = SPACES) -> list[Subject]:
    """The searches that decide the settings of ``methods``, each once, warm starts before what begins with them.

    Raises:
        ConfigError: none of the methods takes tuned settings.
    """
    found: dict[Subject, None] = {}
    for name in methods:
        own = searched_as(name, kind, folder)
        if own is None:
            continue
        for row in (get_method(own), get_method(name)):
            if row.warm_start:
                found.setdefault(Subject(warm_owner(row), WARM_START))
        found.setdefault(Subject(own))
    if not found:
        raise ConfigError(f"tune: {', '.join(methods)} has published settings whatever is found, so there is nothing "
                          f"to search.")
    return sorted(found, key=lambda subject: not subject.warm)
