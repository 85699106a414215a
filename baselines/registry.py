"""The methods: an objective (what is minimised) × an estimator (how its descent is found) × a rule (what follows)

Everything is listed here and imported only when used. To add a method, add a row; to add a part, write its class and
its hyperparameters and add a line to a table (docs/adding.md).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from baselines import hyperparameters as hp
from benchmark.core.fields import checked, fields_of
from benchmark.core.naming import check_name, load

if TYPE_CHECKING:
    from torch.nn import Parameter

    from baselines.contract import Context, Estimator, Objective


@dataclass(frozen=True)
class Nothing:
    """The hyperparameters of a part that has none."""


class Part(NamedTuple):
    """Where a class is, and the dataclass of its hyperparameters."""

    target: str
    settings: type = Nothing

    def build(self, first: Any, values: dict[str, Any]) -> Any:
        """An object of the class, from its first argument and those of ``values`` that are its hyperparameters."""
        return load(self.target)(first, settings_from(self.settings, values))


def settings_from(cls: type, values: dict[str, Any]) -> Any:
    return cls(**{name: values[name] for name in fields_of(cls)})


_OBJECTIVES, _ESTIMATORS = "baselines.objectives", "baselines.estimators"
_DIRECTIONS = f"{_ESTIMATORS}.directions"
OBJECTIVES: dict[str, Part] = {
    "rloo": Part(f"{_OBJECTIVES}.rloo:RLOO", hp.RLOO),
    "rloo_shuffled": Part(f"{_OBJECTIVES}.rloo:ShuffledRLOO", hp.RLOO),
    "ppo": Part(f"{_OBJECTIVES}.ppo:PPO", hp.PPO),
    "online_dpo": Part(f"{_OBJECTIVES}.online_dpo:OnlineDPO", hp.OnlineDPO),
    "dpo": Part(f"{_OBJECTIVES}.dpo:DPO", hp.DPO),
    "reward": Part(f"{_OBJECTIVES}.reward:Reward", hp.Reward),
}
DIRECTIONS: dict[str, Part] = {
    "gaussian": Part(f"{_DIRECTIONS}.gaussian:Gaussian"),
    "informed": Part(f"{_DIRECTIONS}.informed:Informed", hp.Informed),
}
PROBES: dict[str, Part] = {
    "two_point": Part(f"{_ESTIMATORS}.probes:TwoPoint", hp.TwoPoint),
}
RULES: dict[str, Part] = {
    "sgd": Part(f"{_ESTIMATORS}.rules:SGD", hp.SGD),
    "sign": Part(f"{_ESTIMATORS}.rules:Sign", hp.SGD),
    "momentum": Part(f"{_ESTIMATORS}.rules:Momentum", hp.Momentum),
    "adamw": Part(f"{_ESTIMATORS}.rules:AdamW", hp.AdamW),
    "muon": Part(f"{_ESTIMATORS}.rules:Muon", hp.Muon),
}


@dataclass(frozen=True)
class FirstOrder:
    """Gradients by backpropagation, followed by a rule."""

    rule: str = "adamw"
    zeroth_order = False

    @property
    def title(self) -> str:
        return f"backpropagation × {self.rule}"

    def settings(self) -> tuple[type, ...]:
        return (RULES[self.rule].settings, hp.Backpropagation)

    def build(self, parameters: dict[str, Parameter], values: dict[str, Any], seed: int, stream: bool) -> Estimator:
        from baselines.estimators.backpropagation import Backpropagation

        rule = RULES[self.rule].build(parameters, values)
        return Backpropagation(parameters, settings_from(hp.Backpropagation, values), rule)

    def passes(self, values: dict[str, Any], whole: bool) -> int:
        """An update's forward passes: its own and, as dear as one each, the gradients of activations and of weights."""
        return 3 if whole else 2

    def copies(self) -> float:
        """State, in copies of the trained parameters; the gradient is one of them."""
        return 1 + load(RULES[self.rule].target).copies


@dataclass(frozen=True)
class ZerothOrder:
    """Losses read by a probe along a direction, followed by a rule."""

    direction: str
    probe: str = "two_point"
    rule: str = "sgd"
    zeroth_order = True

    @property
    def title(self) -> str:
        return f"{self.direction} × {self.probe} × {self.rule}"

    def settings(self) -> tuple[type, ...]:
        return (RULES[self.rule].settings, PROBES[self.probe].settings, DIRECTIONS[self.direction].settings)

    def build(self, parameters: dict[str, Parameter], values: dict[str, Any], seed: int, stream: bool) -> Estimator:
        from baselines.estimators.zeroth_order import ZerothOrder as Estimation

        probe = PROBES[self.probe]
        return Estimation(parameters, DIRECTIONS[self.direction].build(parameters, values),
                          load(probe.target)(settings_from(probe.settings, values)),
                          RULES[self.rule].build(parameters, values), seed, stream)

    def passes(self, values: dict[str, Any], whole: bool) -> int:
        """An update's forward passes: its readings."""
        probe = PROBES[self.probe]
        return load(probe.target)(settings_from(probe.settings, values)).forwards

    def copies(self) -> float:
        """State, in copies of the trained parameters."""
        return load(DIRECTIONS[self.direction].target).copies + load(RULES[self.rule].target).copies


@dataclass(frozen=True)
class Method:
    """A row of the registry.

    Attributes:
        estimator: how the descent is found, and what is done with it.
        version: part of a run's identity: raise it when results change.
        group: what ``--method GROUP`` selects; ``main`` is what ``--all`` runs.
        base: method whose overrides (of a profile or ``--set``) hold for this one too, under its own ``defaults``.
        start: method whose objective's and warm start's values hold for this one, above those of ``base``: both then
            begin alike, bit for bit.
        defaults: values that make this row what it is.
        published: values that its authors publish where they differ from those of its parts, each with its source.
        warm_start: number of first iterations that back-propagate the objective instead.
    """

    name: str
    objective: str
    estimator: FirstOrder | ZerothOrder
    summary: str
    version: str = "1"
    group: str = "main"
    base: str = ""
    start: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    published: dict[str, tuple[Any, str]] = field(default_factory=dict)
    warm_start: int = 0

    @property
    def zeroth_order(self) -> bool:
        return self.estimator.zeroth_order

    @property
    def title(self) -> str:
        """Its parts in words."""
        return f"{self.objective} × {self.estimator.title}" + (", warm start" if self.warm_start else "")

    def fields(self) -> dict[str, dataclasses.Field]:
        """All hyperparameters of the method by name, the objective's first."""
        warm = (hp.WarmStart,) if self.warm_start else ()
        return fields_of(OBJECTIVES[self.objective].settings, *self.estimator.settings(), *warm)

    def source(self, name: str) -> str:
        """Where the published value of a hyperparameter comes from."""
        return self.published[name][1] if name in self.published else self.fields()[name].metadata["source"]

    def check(self, values: dict[str, Any], origin: str) -> dict[str, Any]:
        """Return ``values`` with types checked; ConfigError names the key, its owner and what it takes."""
        return checked(self.fields(), values, origin, self.name, "hyperparameter")

    def resolved(self, overrides: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Every hyperparameter's value as one flat dictionary.

        Args:
            overrides: method name → values that replace published defaults. What is given for ``base`` and ``start``
                holds here too, then this row's ``defaults``, then what is given for this row by name.
        """
        fields = self.fields()
        published = {name: spec.default for name, spec in fields.items()}
        published |= {name: value for name, (value, _) in self.published.items()}
        inherited = {k: v for k, v in overrides.get(self.base, {}).items() if k in fields}
        if self.start:
            begun = METHODS[self.start].resolved(overrides)
            begun["warm_start_schedule"] = warm_schedule(begun)
            names = fields_of(OBJECTIVES[self.objective].settings, hp.WarmStart)
            inherited |= {name: begun[name] for name in names if name in fields}
        return {**published, **inherited, **self.defaults, **overrides.get(self.name, {})}

    def make_objective(self, context: Context, values: dict[str, Any]) -> Objective:
        """The objective in ``context``; ``values`` as :meth:`resolved` returns them."""
        return OBJECTIVES[self.objective].build(context, values)

    def make_estimator(self, parameters: dict[str, Parameter], values: dict[str, Any], seed: int, *, warm: bool = False,
                       stream: bool = False) -> Estimator:
        """What finds the descent.

        Args:
            parameters: what is trained, by name.
            values: as :meth:`resolved` returns them.
            warm: that of the warm start.
            stream: do without copies of what is trained where possible (see the estimators).
        """
        if not warm:
            return self.estimator.build(parameters, values, seed, stream)
        settings = {"lr": values["warm_start_lr"], "max_grad_norm": values["warm_start_max_grad_norm"],
                    "schedule": warm_schedule(values), "weight_decay": 0.0}
        return FirstOrder().build(parameters, settings, seed, stream)


def warm_schedule(values: dict[str, Any]) -> str:
    """The learning-rate schedule of a method's warm start."""
    own = values["warm_start_schedule"]
    return values["schedule"] if own == "method" else own


def _control(name: str, summary: str, objective: str = "rloo", **defaults: Any) -> Method:
    """ZOPrO with one thing taken away or changed; all else is what it is for ``zopro``."""
    return dataclasses.replace(ZOPRO, name=name, objective=objective, summary=summary, group="ablation", base="zopro",
                               defaults=defaults)


# The published training loops of RLOO and PPO do not clip gradients; those of DPO and online DPO do.
UNCLIPPED = {"max_grad_norm": 0.0}
MEZO = ZerothOrder("gaussian")
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
        dataclasses.replace(ZOPRO, name="zopro-published", summary="published settings, whatever the profile says",
                            group="ablation"),
        Method("mezo-warm", "rloo", MEZO, "MeZO after ZOPrO's warm start", group="ablation", base="mezo", start="zopro",
               warm_start=1),
        Method("no-update", "rloo", MEZO, "lr = 0: the noise floor of the evaluation", group="ablation", base="mezo",
               defaults={"lr": 0.0}),
        Method("mezo-momentum", "rloo", ZerothOrder("gaussian", rule="momentum"), "MeZO with heavy-ball momentum",
               group="zo"),
        Method("mezo-sign", "rloo", ZerothOrder("gaussian", rule="sign"), "MeZO, the sign of every entry", group="zo"),
        Method("mezo-adam", "rloo", ZerothOrder("gaussian", rule="adamw"), "MeZO's estimate followed by AdamW",
               group="zo"),
        Method("mezo-muon", "rloo", ZerothOrder("gaussian", rule="muon"), "MeZO's estimate, orthogonalised",
               group="zo"),
        Method("mezo-reward", "reward", MEZO, "Gaussian two-point SPSA on the reward of fresh completions", group="zo"),
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
