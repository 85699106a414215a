"""Which methods stand together where there are too many for one set of axes: panels, headers, filters of the page.

A family is read off the registry's row (group, objective, direction, probe, rule), so that a new row finds its place
and a method is in the same company in every report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from baselines.method import Method
from baselines.registry import find

CROWD = 8  # methods that one set of axes shows before lines can no longer be followed
PANEL = 6  # methods of a panel, beside what it is compared with


def _part(kind: str, *names: str) -> Callable[[Method], bool]:
    """Whether a method's estimator has one of ``names`` as its ``kind``: direction, probe or rule."""
    return lambda method: getattr(method.estimator, kind, "") in names


def _control(method: Method) -> bool:
    return method.group == "ablation" and method.base == "zopro"


# The first family that takes a row has it.
FAMILIES: tuple[tuple[str, Callable[[Method], bool]], ...] = (
    ("main methods", lambda m: m.group == "main"),
    ("ZOPrO, one part changed", lambda m: _control(m) and m.objective == "rloo" and not m.warm_every
     and _part("direction", "informed")(m)),
    ("ZOPrO, other directions", lambda m: _control(m) and not _part("direction", "informed")(m)),
    ("after ZOPrO's warm start", lambda m: m.start is not None),
    ("other settings", lambda m: m.group == "ablation"),
    ("the reward itself", lambda m: m.objective == "reward"),
    ("comparisons", lambda m: m.objective == "noisy_pairs"),
    ("low-rank directions", _part("direction", "low_rank")),
    ("random subspaces", _part("direction", "both_haar", "left_haar")),
    ("shaped or partial directions", _part("direction", "cone", "curvature", "blocks", "small_weights")),
    ("several directions", lambda m: m.defaults.get("samples", 1) > 1 or _part("probe", "each_example")(m)),
    ("adaptive steps", lambda m: _part("probe", "normalised", "scalar_adaptive")(m)
     or _part("rule", "adamw", "radazo")(m)),
    ("signs, momentum, Muon", lambda m: _part("probe", "scalar_sign")(m)
     or _part("rule", "sign", "momentum", "muon")(m)),
    ("other readings", lambda m: True),
)


def family(method: str) -> str:
    """Title of the family of ``method``; what the registry does not know stands by itself."""
    if (row := find(method)) is None:
        return "other methods"
    title = next(title for title, holds in FAMILIES if holds(row))
    return f"{title}, DPO loss" if row.objective == "dpo" and row.group != "main" else title


def families(methods: Sequence[str]) -> dict[str, list[str]]:
    """Title → its ``methods``, in their order; families on the DPO loss and unknown methods last."""
    titles = [title + suffix for suffix in ("", ", DPO loss") for title, _ in FAMILIES] + ["other methods"]
    found = {title: [m for m in methods if family(m) == title] for title in titles}
    return {title: own for title, own in found.items() if own}


def panels(methods: Sequence[str], present: Sequence[str]) -> dict[str, list[str]]:
    """Title → methods of a panel: what it is compared with, then a family, one of more than ``PANEL`` in even parts.

    A family that others are compared with has no panel if that shows nothing new.

    Args:
        present: what there is to compare with.
    """
    parts: dict[str, list[str]] = {}
    for title, own in families([m for m in methods if m != "rloo"] or methods).items():
        count = -(-len(own) // PANEL)
        size = -(-len(own) // count)
        for i in range(count):
            parts[title if count == 1 else f"{title} ({i + 1} of {count})"] = own[i * size : (i + 1) * size]
    beside = {title: references(own, present) for title, own in parts.items()}
    shown = {m for found in beside.values() for m in found}
    return {title: [*beside[title], *own] for title, own in parts.items() if len(parts) == 1 or not shown >= {*own}}


def references(panel: Sequence[str], present: Sequence[str]) -> list[str]:
    """What a panel is compared with, beside π₀: RLOO, and the method that its own are variants of."""
    found = ["rloo"]
    for row in filter(None, map(find, panel)):
        if row.group != "main":
            plain = "mezo-dpo" if row.objective == "dpo" else "mezo"
            found.append("zopro" if row.start or row.group == "ablation" else plain)
    return [m for m in dict.fromkeys(found) if m in present and m not in panel]


def ranked(methods: Sequence[str], value: Mapping[str, float | None]) -> list[str | None]:
    """Rows of a plot with a row a method, ``None`` where the title of the next one's family stands above it.

    A crowd is sorted by ``value`` within its families, those without one last; a few methods stay as they are.
    """
    if len(methods) <= CROWD:
        return list(methods)
    known = {method: number for method, number in value.items() if number is not None}
    rows: list[str | None] = []
    for own in families(methods).values():
        rows += [None, *sorted(own, key=lambda m: known.get(m, -math.inf), reverse=True)]
    return rows
