"""The registry: every method by its name.

To add a method, add a row; to add a part, see :mod:`baselines.parts` and docs/adding.md.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from baselines import hyperparameters as hp
from baselines.family import FAMILY, MEZO
from baselines.method import FirstOrder, Method, OnePiece, ZerothOrder
from baselines.parts import DIRECTIONS, ESTIMATORS, OBJECTIVES, PROBES, RULES, Part
from benchmark.core.naming import check_name

__all__ = ["DIRECTIONS", "ESTIMATORS", "METHODS", "OBJECTIVES", "PROBES", "RULES", "FirstOrder", "Method", "OnePiece",
           "Part", "ZerothOrder", "get_method", "hp", "method_groups"]


def _control(name: str, summary: str, objective: str = "rloo", direction: str = "informed", warm_every: int = 0,
             **defaults: Any) -> Method:
    """ZOPrO with one thing taken away or changed; all else is what it is for ``zopro``."""
    return dataclasses.replace(ZOPRO, name=name, objective=objective, estimator=ZerothOrder(direction), summary=summary,
                               group="ablation", base="zopro", warm_every=warm_every, defaults=defaults)


def _warm(name: str) -> Method:
    """A row of the family after ZOPrO's warm start."""
    (row,) = (row for row in FAMILY if row.name == name)
    return dataclasses.replace(row, name=f"{name}-warm", summary=f"{row.summary}; after ZOPrO's warm start",
                               group="zo-warm", base=name, variant=row, start=ZOPRO, warm_start=1)


# The published training loops of RLOO and PPO do not clip gradients; those of DPO and online DPO do.
UNCLIPPED = {"max_grad_norm": 0.0}
ZOPRO = Method(
    "zopro", "rloo", ZerothOrder("informed"), "RLOO warm start, then SPSA along previous update + projected noise",
    published={"epsilon": (1e-5, "V trainers.py:850-854"), "schedule": ("linear_iteration", "TF training_args.py:907"),
               "lr": (1e-4, "V trainers.py:850-854"), "weight_decay": (0.0, "TF training_args.py:896")}, warm_start=1)
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("rloo", "rloo", FirstOrder(), "REINFORCE leave-one-out, AdamW", defaults=UNCLIPPED),
        Method("ppo", "ppo", FirstOrder(), "PPO with a trainable critic and GAE, AdamW", defaults=UNCLIPPED),
        Method("online-dpo", "online_dpo", FirstOrder(), "DPO on pairs sampled from the policy, AdamW"),
        Method("dpo", "dpo", FirstOrder(), "DPO on the task's own pairs, AdamW"),
        Method("mezo", "rloo", MEZO, "Gaussian two-point SPSA on the RLOO surrogate"),
        Method("mezo-dpo", "dpo", MEZO, "Gaussian two-point SPSA on the DPO loss"),
        ZOPRO,
        _control("zopro-warm-start", "the warm start alone: lr = 0 after it", lr=0.0),
        _control("zopro-previous", "a = 1: the previous update alone, a line search", decay="constant",
                 initial_weight=1.0),
        _control("zopro-random", "a = 0: projected noise alone, as long as the previous update", decay="constant",
                 initial_weight=0.0),
        _control("zopro-no-projection", "noise not projected off the reward model's update", project=False),
        # Gaussian noise is some 10³ times as long as an update, so ZOPrO's lr and ε would throw the policy away.
        _control("zopro-no-norm-matching", "noise at its own length, with MeZO's published lr and ε", match_norm=False,
                 lr=1e-4, epsilon=1e-2),
        _control("zopro-shuffled", "advantages dealt out at random", "rloo_shuffled"),
        _control("zopro-last-update", "along the last update, as long as the previous iteration's",
                 direction="informed_last_update"),
        _control("zopro-start-norm", "always as long as the warm start's update", direction="informed_start_norm"),
        _control("zopro-rewarm", "every other iteration is a warm start", warm_every=2),
        # lr is that of a gradient's projection, not ZOPrO's.
        _control("zopro-scaled-lr", "lr over the squared length of the previous update",
                 direction="informed_scaled_rate", lr=1e-2),
        _control("zopro-off-previous", "noise projected off the previous update", direction="informed_off_previous"),
        _control("zopro-along-reward", "noise along the reward model's update only", direction="informed_along_reward"),
        _control("zopro-plus-reward", "along the previous update plus the reward model's",
                 direction="informed_plus_reward"),
        dataclasses.replace(ZOPRO, name="zopro-published", summary="published settings, whatever the profile says",
                            group="ablation"),
        Method("mezo-warm", "rloo", MEZO, "MeZO after ZOPrO's warm start", group="ablation", base="mezo", start=ZOPRO,
               warm_start=1),
        Method("frozen", "rloo", MEZO, "lr = 0: π₀ throughout, whose increase is 0 by construction", group="ablation",
               base="mezo", defaults={"lr": 0.0}),
        *FAMILY,
        *map(_warm, ("lozo", "hizoo", "subzero", "conmezo", "zo-muon")),
    )
}

RENAMED = {"no-update": "frozen"}  # name in results of protocol 1.1 → name
ORDER = [name for method in METHODS for name in (method, *(old for old, new in RENAMED.items() if new == method))]


def method_groups() -> dict[str, list[str]]:
    """Group → its methods, in the registry's order; ZOPrO itself stands first among its ablations."""
    groups: dict[str, list[str]] = {}
    for method in METHODS.values():
        groups.setdefault(method.group, []).append(method.name)
    groups["ablation"].insert(0, "zopro")
    return groups


def get_method(name: str) -> Method:
    """Return the registry's row ``name``; ConfigError with near matches if there is none."""
    return METHODS[check_name(RENAMED.get(name, name), METHODS, "method")]


def find(name: str) -> Method | None:
    """:func:`get_method` of a stored run or of a row, ``dpo (loss = ipo)`` being one of ``dpo``; ``None`` if the method
    comes from elsewhere."""
    name = name.partition(" (")[0]
    return METHODS.get(RENAMED.get(name, name))
