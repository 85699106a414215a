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
from benchmark.naming import check_name, load

OBJECTIVES: dict[str, tuple[str, type]] = {
    "rloo": ("baselines.objectives.rloo:RLOO", hp.RLOO),
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
    """A row of the registry. ``version`` is part of a run's identity: raise it when results change."""

    name: str
    objective: str
    estimator: str
    summary: str
    version: str = "1"
    defaults: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, dataclasses.Field]:
        """All hyperparameters of the method by name, the objective's before the estimator's."""
        classes = (OBJECTIVES[self.objective][1], ESTIMATORS[self.estimator][1])
        return {f.name: f for cls in classes for f in dataclasses.fields(cls)}

    def check(self, values: dict[str, Any], origin: str) -> dict[str, Any]:
        """Return ``values`` with types checked; ConfigError names the key, its owner and what it takes."""
        from benchmark.config import coerce

        fields, checked = self.fields(), {}
        for key, value in values.items():
            check_name(key, fields, f"hyperparameter of {self.name} in {origin}")
            hints = {"int": int, "float": float, "str": str, "bool": bool}
            checked[key] = coerce(hints[fields[key].type], f"{self.name}.{key}", value, fields[key].metadata, origin)
        return checked

    def hyperparameters(self, overrides: dict[str, Any]) -> tuple[Any, Any]:
        """Return the objective's and the estimator's hyperparameters, ``overrides`` put over the defaults."""
        values = {**self.defaults, **overrides}

        def build(cls: type) -> Any:
            names = {f.name for f in dataclasses.fields(cls)}
            return cls(**{key: value for key, value in values.items() if key in names})

        return build(OBJECTIVES[self.objective][1]), build(ESTIMATORS[self.estimator][1])

    def resolved(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """Every hyperparameter's value as one flat dictionary."""
        objective, estimator = self.hyperparameters(overrides)
        return {**dataclasses.asdict(objective), **dataclasses.asdict(estimator)}

    def classes(self) -> tuple[typing.Any, typing.Any]:
        """Import and return the objective's and the estimator's class."""
        return load(OBJECTIVES[self.objective][0]), load(ESTIMATORS[self.estimator][0])


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("rloo", "rloo", "backpropagation", "REINFORCE leave-one-out, AdamW"),
        Method("ppo", "ppo", "backpropagation", "PPO with a trainable critic and GAE, AdamW"),
        Method("online-dpo", "online_dpo", "backpropagation", "DPO on pairs sampled from the policy, AdamW"),
        Method("dpo", "dpo", "backpropagation", "DPO on the task's own pairs, AdamW"),
        Method("mezo", "rloo", "spsa", "Gaussian two-point SPSA on the RLOO surrogate"),
        Method("mezo-dpo", "dpo", "spsa", "Gaussian two-point SPSA on the DPO loss"),
        Method("zopro", "rloo", "zopro", "RLOO warm start, then SPSA along previous update + projected noise"),
    )
}


def get_method(name: str) -> Method:
    """Return the registry's row ``name``; ConfigError with near matches if there is none."""
    return METHODS[check_name(name, METHODS, "method")]
