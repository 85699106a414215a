"""How a method looks, wherever it appears: one colour, one marker, one line style; and the words for units.

Colours are the colour-blind safe set of Okabe and Ito (2008), "Color Universal Design"; markers and line styles tell
the methods apart in black and white too. Zeroth-order methods are dashed, first-order ones are not, ZOPrO excepted: it
is the method under test and gets the heaviest line.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from baselines.registry import RENAMED, find, method_groups


@dataclass(frozen=True)
class Look:
    """Colour (hex), marker and dash pattern as matplotlib names them, line width in points."""

    colour: str
    marker: str
    line: Any = "-"
    width: float = 2.0


PALETTE: dict[str, Look] = {
    "zopro": Look("#D55E00", "o", "-", 2.8),
    "rloo": Look("#0072B2", "s"),
    "ppo": Look("#009E73", "^"),
    "online-dpo": Look("#E69F00", "D"),
    "dpo": Look("#56B4E9", "v"),
    "mezo": Look("#CC79A7", "P", (0, (4, 1.5))),
    "mezo-dpo": Look("#4D4D4D", "X", (0, (4, 1.5, 1, 1.5))),
    # ZOPrO's controls: thinner, each with a colour and a marker of its own.
    "zopro-warm-start": Look("#000000", "v", (0, (5, 1)), 1.5),
    "zopro-previous": Look("#663333", "<", (0, (3, 1)), 1.5),
    "zopro-random": Look("#009E73", ">", (0, (3, 1)), 1.5),
    "zopro-no-projection": Look("#E69F00", "h", (0, (3, 1, 1, 1)), 1.5),
    "zopro-no-norm-matching": Look("#CC79A7", "p", (0, (3, 1, 1, 1)), 1.5),
    "zopro-shuffled": Look("#56B4E9", "d", (0, (1.2, 1.2)), 1.5),
    "zopro-published": Look("#882255", "P", (0, (1.2, 1.2)), 1.5),
    "mezo-warm": Look("#CC6677", "p", (0, (4, 1.5)), 1.5),
    "frozen": Look("#999999", "8", "-", 1.5),
    # The zeroth-order family: thin and dashed; dash-dotted on the DPO loss, long dashes after a warm start, in the same
    # colour. Colours and markers differ within a panel of families.py, for colour-blind readers too, not over all.
    **{f"{name}{suffix}": Look(colour, marker, line, 1.4)
       for name, colour, marker in (
           ("lozo", "#550055", "D"), ("lozo-m", "#661100", "<"), ("lozo-released", "#882255", ">"),
           ("subzero", "#9999FF", "h"), ("subzero-plus", "#88CCEE", "d"), ("zo-muon", "#661100", "*"),
           ("subspace-mezo", "#999933", "p"),
           ("conmezo", "#332288", "^"), ("hizoo", "#117733", "v"), ("block-mezo", "#661100", "<"),
           ("sparse-mezo", "#FF8C66", ">"),
           ("mezo-q2", "#225522", "<"), ("mezo-q5", "#4D9221", "d"), ("mezo-q10", "#884477", ">"),
           ("grzo", "#CCBB44", "^"),
           ("mezo-adam", "#66CCEE", "d"), ("fzoo", "#228833", "D"), ("meazo", "#EE6677", "H"),
           ("radazo", "#661100", "*"),
           ("mezo-momentum", "#117733", "<"), ("mezo-sign", "#CCBB44", ">"), ("mezo-muon", "#88CCEE", "h"),
           ("mezo-sign-scalar", "#997700", "v"),
           ("mezo-conservative", "#661100", "h"), ("forward-gradient", "#222255", "^"),
           ("random-search", "#CC3311", "D"),
           ("mezo-reward", "#EE6677", "d"), ("essa", "#332288", "p"), ("es", "#AA3377", "^"),
           ("es-plain", "#CCBB44", "v"), ("eggroll", "#AA7700", "D"),
           ("compo", "#550055", "h"), ("compo-dense", "#994477", "p"), ("compo-centred", "#EE7733", "*"))
       for suffix, line in (("", (0, (3, 1.5))), ("-dpo", (0, (3, 1.5, 1, 1.5))), ("-warm", (0, (6, 2))))},
    "zopro-last-update": Look("#332288", "^", (0, (3, 1)), 1.5),
    "zopro-start-norm": Look("#117733", "v", (0, (3, 1)), 1.5),
    "zopro-rewarm": Look("#222255", "D", (0, (5, 1)), 1.5),
    "zopro-scaled-lr": Look("#44AA99", "X", (0, (3, 1, 1, 1)), 1.5),
    "zopro-off-previous": Look("#661100", "*", (0, (3, 1, 1, 1)), 1.5),
    "zopro-along-reward": Look("#DDCC77", "H", (0, (1.2, 1.2)), 1.5),
    "zopro-plus-reward": Look("#88CCEE", "<", (0, (1.2, 1.2)), 1.5),
}

# For methods that join later: darker and lighter relatives of the set above, dotted so that they cannot be taken for
# one of those.
FURTHER: tuple[Look, ...] = tuple(
    Look(colour, marker, (0, (1.2, 1.2)))
    for colour, marker in (
        ("#882255", "<"),
        ("#332288", ">"),
        ("#117733", "h"),
        ("#999933", "p"),
        ("#44AA99", "*"),
        ("#661100", "d"),
        ("#6699CC", "8"),
        ("#AA4499", "H"),
    )
)

LABELS = {
    "zopro": "ZOPrO",
    "rloo": "RLOO",
    "ppo": "PPO",
    "online-dpo": "Online DPO",
    "dpo": "DPO",
    "mezo": "MeZO",
    "mezo-dpo": "MeZO-DPO",
    "zopro-warm-start": "warm start only",
    "zopro-previous": "previous update only (a = 1)",
    "zopro-random": "random only (a = 0)",
    "zopro-no-projection": "no projection",
    "zopro-no-norm-matching": "no norm matching",
    "zopro-shuffled": "shuffled advantages",
    "zopro-published": "ZOPrO, published settings",
    "mezo-warm": "MeZO after the warm start",
    "frozen": "no update (lr = 0)",
    **{f"{name}{suffix}": f"{words}{after}"
       for name, words in (
           ("lozo", "LOZO"), ("lozo-m", "LOZO-M"), ("conmezo", "ConMeZO"), ("hizoo", "HiZOO"), ("subzero", "SubZero"),
           ("subzero-plus", "SubZero+"), ("zo-muon", "ZO-Muon"), ("subspace-mezo", "Subspace-MeZO"),
           ("block-mezo", "block-wise MeZO"), ("sparse-mezo", "Sparse-MeZO"))
       for suffix, after in (("", ""), ("-dpo", "-DPO"), ("-warm", ", warm start"))},
    "lozo-released": "LOZO, released code",
    "zopro-last-update": "along the last update",
    "zopro-start-norm": "as long as the warm start",
    "zopro-rewarm": "warm start every 2 iterations",
    "zopro-scaled-lr": "lr / ‖previous update‖²",
    "zopro-off-previous": "noise off the previous update",
    "zopro-along-reward": "noise along the reward update",
    "zopro-plus-reward": "previous + reward update",
    **{name + suffix: words + suffix.upper()
       for suffix in ("", "-dpo")
       for name, words in (
           ("mezo-momentum", "MeZO, momentum"), ("mezo-sign", "MeZO, sign"), ("mezo-adam", "MeZO, Adam"),
           ("fzoo", "FZOO"), ("mezo-q2", "MeZO, q = 2"), ("mezo-q5", "MeZO, q = 5"), ("mezo-q10", "MeZO, q = 10"),
           ("mezo-conservative", "MeZO, conservative"), ("mezo-sign-scalar", "MeZO, sign of the slope"),
           ("meazo", "MEAZO"), ("radazo", "R-AdaZO"), ("forward-gradient", "forward gradient"),
           ("random-search", "random search"))},
    "mezo-muon": "MeZO, Muon",
    "mezo-reward": "MeZO on the reward",
    "es": "ES",
    "es-plain": "ES at Scale",
    "eggroll": "EGGROLL",
    "essa": "ESSA",
    "grzo": "GRZO",
    "grzo-dpo": "GRZO-DPO",
    "compo": "ComPO",
    "compo-dense": "ComPO, dense",
    "compo-centred": "ComPO, centred",
}

TASK_TITLES = {
    "summarize-from-feedback": "Summarize-from-Feedback",
    "wmt20-mlqe": "WMT20 MLQE en-de",
    "hh-rlhf": "HH-RLHF",
}

BUDGETS = {
    "forward_tokens": "forward tokens",
    "seconds": "seconds",
    "completions": "completions",
    "updates": "updates",
}

JUDGES = {"gold": ("gold score", "0–1"), "win_rate": ("win rate against π₀", "0–1")}

INK, MUTED, GRID = "#222222", "#666666", "#E3E3E3"

# Fixed here so that a user's matplotlibrc cannot change a figure.
RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmark",
}


def key(name: str) -> str:
    """Name in the spelling of the tables above, and as it is now."""
    name = name.lower().replace("_", "-")
    return RENAMED.get(name, name)


def label(method: str) -> str:
    """Method name as people write it, with its variant; the registry name where none is known."""
    name, *variant = method.partition(" (")
    return LABELS.get(key(name), name) + "".join(variant)


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """A look for every method; the same name gets the same look in every report.

    Unknown names, and variants of a method, are placed by a checksum of the name; only when two of them meet on one
    place does the later one, by alphabet, move on to the next. When all are taken, colours get other markers.
    """
    chosen = {m: PALETTE[key(m)] for m in methods if key(m) in PALETTE}
    others = sorted(set(methods) - set(chosen))
    for turn, first in enumerate(range(0, len(others), len(FURTHER))):
        taken: set[int] = set()
        for method in others[first : first + len(FURTHER)]:
            place = zlib.crc32(key(method).encode()) % len(FURTHER)
            while place in taken:
                place = (place + 1) % len(FURTHER)
            taken.add(place)
            chosen[method] = replace(FURTHER[place], marker=FURTHER[(place + turn) % len(FURTHER)].marker)
    return chosen


def groups(methods: Sequence[str]) -> dict[str, list[str]]:
    """Suffix of a figure's or table's name → its methods, in the order of ``methods``.

    "" holds what is compared, "_ablation" ZOPrO with its controls. Where the one would add nothing to the other (a
    folder of controls alone, or of none) all stand together.
    """
    family = method_groups()["ablation"]
    controls = [m for m in methods if (known := find(m)) and known.name in family]
    main = [m for m in methods if (known := find(m)) is None or known.group != "ablation"]
    if set(main) <= set(controls) or set(controls) <= set(main):
        return {"": list(methods)}
    return {"": main, "_ablation": controls}
