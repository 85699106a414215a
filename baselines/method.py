"""A method: an objective (what is minimised) × an estimator (how its descent is found) × a rule (what follows)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from baselines import hyperparameters as hp
from baselines.parts import DIRECTIONS, ESTIMATORS, OBJECTIVES, PROBES, RULES, settings_from
from benchmark.core.fields import checked, fields_of
from benchmark.core.naming import load

if TYPE_CHECKING:
    from torch.nn import Parameter

    from baselines.contract import Context, Estimator, Objective, Probe

KINDS = ("lora", "norms", "full")


@dataclass(frozen=True)
class FirstOrder:
    """Gradients by backpropagation, followed by a rule."""

    rule: str = "adamw"
    zeroth_order = False

    @property
    def title(self) -> str:
        return f"backpropagation × {self.rule}"

    def settings(self) -> tuple[type, ...]:
        return (RULES[self.rule].settings, hp.BackpropagationSettings)

    def build(self, parameters: dict[str, Parameter], values: dict[str, Any], seed: int, stream: bool) -> Estimator:
        from baselines.estimators.backpropagation import Backpropagation

        rule = RULES[self.rule].build(parameters, values)
        return Backpropagation(parameters, settings_from(hp.BackpropagationSettings, values), rule)

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
        from baselines.estimators.zeroth_order import ZerothOrderEstimator

        return ZerothOrderEstimator(parameters, DIRECTIONS[self.direction].build(parameters, values),
                                    self._probe(values), lambda tensors: RULES[self.rule].build(tensors, values), seed,
                                    stream)

    def _probe(self, values: dict[str, Any]) -> Probe:
        part = PROBES[self.probe]
        return load(part.target)(settings_from(part.settings, values))

    def passes(self, values: dict[str, Any], whole: bool) -> int:
        """An update's forward passes: its readings; tangents of activations and of weights are as dear as one each."""
        probe = self._probe(values)
        return probe.forwards * ((3 if whole else 2) if probe.exact else 1)

    def copies(self) -> float:
        """State, in copies of the trained parameters; what has the size of coordinates in a subspace is not counted."""
        direction, rule = load(DIRECTIONS[self.direction].target), load(RULES[self.rule].target)
        return direction.copies + (0.0 if direction.latent else rule.copies)


@dataclass(frozen=True)
class OnePiece:
    """A zeroth-order estimator that is not made of direction, probe and rule."""

    part: str
    zeroth_order = True

    @property
    def title(self) -> str:
        return self.part.replace("_", " ")

    def settings(self) -> tuple[type, ...]:
        return (ESTIMATORS[self.part].settings,)

    def build(self, parameters: dict[str, Parameter], values: dict[str, Any], seed: int, stream: bool) -> Estimator:
        part = ESTIMATORS[self.part]
        return load(part.target)(parameters, settings_from(part.settings, values), seed)

    def passes(self, values: dict[str, Any], whole: bool) -> int:
        """An update's forward passes: its readings."""
        part = ESTIMATORS[self.part]
        return load(part.target).forwards(settings_from(part.settings, values))

    def copies(self) -> float:
        """State, in copies of the trained parameters."""
        return load(ESTIMATORS[self.part].target).copies


@dataclass(frozen=True)
class Method:
    """A row of the registry.

    Attributes:
        estimator: how the descent is found, and what is done with it.
        version: part of a run's identity: raise it when results change.
        group: what ``--method GROUP`` selects; ``main`` is what ``--all`` runs.
        base: method whose overrides (of a profile or ``--set``) hold for this one too, under its own ``defaults``.
        variant: method whose values all hold for this one, its base's and its own, instead of ``base``'s alone.
        start: method whose objective's and warm start's values hold for this one, above those of ``base``: both then
            begin alike, bit for bit.
        defaults: values that make this row what it is.
        published: values that its authors publish where they differ from those of its parts, each with its source.
        warm_start: number of first iterations that back-propagate the objective instead.
        warm_every: iterations after which the warm start comes again; 0 = never.
        kinds: what it can train: values of ``adapter.kind``.
    """

    name: str
    objective: str
    estimator: FirstOrder | ZerothOrder | OnePiece
    summary: str
    version: str = "1"
    group: str = "main"
    base: str = ""
    variant: Method | None = None
    start: Method | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    published: dict[str, tuple[Any, str]] = field(default_factory=dict)
    warm_start: int = 0
    warm_every: int = 0
    kinds: tuple[str, ...] = KINDS

    def is_warm(self, iteration: int) -> bool:
        """Whether an iteration is of the warm start."""
        return (iteration % self.warm_every if self.warm_every else iteration) < self.warm_start

    @property
    def zeroth_order(self) -> bool:
        return self.estimator.zeroth_order

    @property
    def directed(self) -> bool:
        """Whether its estimate is a sum of directions, each by its readings of a loss."""
        return isinstance(self.estimator, ZerothOrder)

    @property
    def title(self) -> str:
        """Its parts in words."""
        return f"{self.objective} × {self.estimator.title}" + (", warm start" if self.warm_start else "")

    def fields(self) -> dict[str, dataclasses.Field]:
        """All hyperparameters of the method by name, the objective's first."""
        warm = (hp.WarmStartSettings,) if self.warm_start else ()
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
        given = self.variant.resolved(overrides) if self.variant else overrides.get(self.base, {})
        inherited = {k: v for k, v in given.items() if k in fields}
        if self.start:
            begun = self.start.resolved(overrides)
            begun["warm_start_schedule"] = warm_schedule(begun)
            names = fields_of(OBJECTIVES[self.objective].settings, hp.WarmStartSettings)
            inherited |= {name: begun[name] for name in names if name in fields}
        return {**published, **inherited, **self.defaults, **overrides.get(self.name, {})}

    def make_objective(self, context: Context, values: dict[str, Any]) -> Objective:
        """The objective in ``context``; ``values`` as :meth:`resolved` returns them."""
        context.sampler.stop = values.get("stop", "")
        context.sampler.missing_eos_penalty = values.get("missing_eos_penalty", 0.0)
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
        begin = settings_from(hp.WarmStartSettings, values)
        settings = {"lr": begin.warm_start_lr, "max_grad_norm": begin.warm_start_max_grad_norm,
                    "schedule": warm_schedule(values), "weight_decay": 0.0}
        return FirstOrder().build(parameters, settings, seed, stream)


def warm_schedule(values: dict[str, Any]) -> str:
    """The learning-rate schedule of a method's warm start."""
    own = settings_from(hp.WarmStartSettings, values).warm_start_schedule
    return values["schedule"] if own == "method" else own
