"""The methods: an objective (what is minimised) × an estimator (how its descent direction is found).

Everything is listed here and imported only when used. To add a method, add a line; to add an objective or an
estimator, add its class, its hyperparameters and a line to the table.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any

from baselines import hyperparameters as hp
from benchmark.core.naming import check_name, load

OBJECTIVES: dict[str, tuple[str, type]] = {
    "rloo": ("baselines.objectives.rloo:RLOO", hp.RLOO),
    "rloo_shuffled": ("baselines.objectives.rloo:ShuffledRLOO", hp.RLOO),
    "ppo": ("baselines.objectives.ppo:PPO", hp.PPO),
    "online_dpo": ("baselines.objectives.online_dpo:OnlineDPO", hp.OnlineDPO),
    "dpo": ("baselines.objectives.dpo:DPO", hp.DPO),
}
ESTIMATORS: dict[str, tuple[str, type]] = {
    "backpropagation": ("baselines.estimators.backpropagation:Backpropagation", hp.Backpropagation),
    "spsa": ("baselines.estimators.spsa:SPSA", hp.SPSA),
    "zopro": ("baselines.estimators.zopro:ZOPrO", hp.ZOPrO),
}


@dataclass(frozen=True)
class Method:
    """A row of the registry.

    Attributes:
        version: part of a run's identity: raise it when results change.
        group: what ``--method GROUP`` selects; ``main`` is what ``--all`` runs.
        base: method whose overrides (of a profile or ``--set``) hold for this one too, under its own ``defaults``.
        defaults: values that make this row what it is.
    """

    name: str
    objective: str
    estimator: str
    summary: str
    version: str = "1"
    group: str = "main"
    base: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, dataclasses.Field]:
        """All hyperparameters of the method by name, the objective's before the estimator's."""
        classes = (OBJECTIVES[self.objective][1], ESTIMATORS[self.estimator][1])
        return {f.name: f for cls in classes for f in dataclasses.fields(cls)}

    def check(self, values: dict[str, Any], origin: str) -> dict[str, Any]:
        """Return ``values`` with types checked; ConfigError names the key, its owner and what it takes."""
        from benchmark.core.fields import coerce

        fields, checked = self.fields(), {}
        for key, value in values.items():
            check_name(key, fields, f"hyperparameter of {self.name} in {origin}")
            hints = {"int": int, "float": float, "str": str, "bool": bool}
            checked[key] = coerce(hints[fields[key].type], f"{self.name}.{key}", value, fields[key].metadata, origin)
        return checked

    def resolved(self, overrides: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Every hyperparameter's value as one flat dictionary.

        Args:
            overrides: method name → values that replace published defaults. What is given for ``base`` holds here too,
                then this row's ``defaults``, then what is given for this row by name.
        """
        inherited = {k: v for k, v in overrides.get(self.base, {}).items() if k in self.fields()}
        published = {name: spec.default for name, spec in self.fields().items()}
        return {**published, **inherited, **self.defaults, **overrides.get(self.name, {})}

    def hyperparameters(self, overrides: dict[str, dict[str, Any]]) -> tuple[Any, Any]:
        """The objective's and the estimator's hyperparameters; ``overrides`` as for :meth:`resolved`."""
        values = self.resolved(overrides)

        def build(cls: type) -> Any:
            return cls(**{f.name: values[f.name] for f in dataclasses.fields(cls)})

        return build(OBJECTIVES[self.objective][1]), build(ESTIMATORS[self.estimator][1])

    def classes(self) -> tuple[typing.Any, typing.Any]:
        """Import and return the objective's and the estimator's class."""
        return load(OBJECTIVES[self.objective][0]), load(ESTIMATORS[self.estimator][0])


def _control(name: str, summary: str, objective: str = "rloo", **defaults: Any) -> Method:
    """ZOPrO with one thing taken away or changed; all else is what it is for ``zopro``."""
    return Method(name, objective, "zopro", summary, group="ablation", base="zopro", defaults=defaults)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        # The published training loops of RLOO and PPO do not clip gradients; those of DPO and online DPO do.
        Method("rloo", "rloo", "backpropagation", "REINFORCE leave-one-out, AdamW", defaults={"max_grad_norm": 0.0}),
        Method("ppo", "ppo", "backpropagation", "PPO with a trainable critic and GAE, AdamW",
               defaults={"max_grad_norm": 0.0}),
        Method("online-dpo", "online_dpo", "backpropagation", "DPO on pairs sampled from the policy, AdamW"),
        Method("dpo", "dpo", "backpropagation", "DPO on the task's own pairs, AdamW"),
        Method("mezo", "rloo", "spsa", "Gaussian two-point SPSA on the RLOO surrogate"),
        Method("mezo-dpo", "dpo", "spsa", "Gaussian two-point SPSA on the DPO loss"),
        Method("zopro", "rloo", "zopro", "RLOO warm start, then SPSA along previous update + projected noise"),
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
        Method("zopro-published", "rloo", "zopro", "published settings, whatever the profile says", group="ablation"),
        Method("no-update", "rloo", "spsa", "lr = 0: the noise floor of the evaluation", group="ablation",
               base="mezo", defaults={"lr": 0.0}),
    )
}


def method_groups() -> dict[str, list[str]]:
    """Group → its methods, in the registry's order; ZOPrO itself stands first among its ablations."""
    groups: dict[str, list[str]] = {}
    for method in METHODS.values():
        groups.setdefault(method.group, []).append(method.name)
    groups["ablation"].insert(0, "zopro")
    return groups


def get_method(name: str) -> Method:
    """Return the registry's row ``name``; ConfigError with near matches if there is none."""
    return METHODS[check_name(name, METHODS, "method")]
