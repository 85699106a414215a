"""Configuration: frozen dataclasses, one help line per field. Unknown keys and wrong types are errors.

A profile (``benchmark/profiles/*.toml``) overrides the defaults below; ``--set key=value`` overrides the profile.
The hyperparameters of the methods live in :mod:`baselines.hyperparameters`; a profile's ``[methods.NAME]`` table and
``--set NAME.key=value`` override them.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark.errors import ConfigError
from benchmark.naming import check_name

PROFILES = Path(__file__).parent / "profiles"
BUDGET_KINDS = ("forward_tokens", "seconds", "completions", "updates")


def option(default: Any, help: str, choices: tuple = (), minimum: float | None = None) -> Any:
    """A configuration field with its help line and what values it takes."""
    return field(default=default, metadata={"help": help, "choices": choices, "minimum": minimum})


@dataclass(frozen=True)
class Data:
    source: str = option("bundled", "where rows come from", ("bundled", "local", "hub"))
    folder: str = option("", "folder with the published raw files, for source = local")
    train_rows: int = option(0, "training rows at most; 0 = the task's default (bundled) or all", minimum=0)
    heldout_rows: int = option(0, "held-out rows at most; 0 as above", minimum=0)
    max_rejected: float = option(0.05, "largest share of malformed rows before the run stops", minimum=0)
    pairing: str = option("default", "how WMT20 pairs are built; released = translation against the source copied",
                          ("default", "released"))


@dataclass(frozen=True)
class Model:
    path: str = option("", "hub name or folder of a causal language model; empty = tiny Llama from the fields below")
    revision: str = option("", "hub revision to pin; empty = newest, recorded after loading")
    dtype: str = option("float32", "dtype of the base weights (adapters are always float32)",
                        ("float32", "bfloat16", "float16"))
    trust_remote_code: bool = option(False, "let the hub repository run its own code")
    vocabulary: int = option(1024, "entries of the byte-level BPE trained on the task's training rows", minimum=300)
    hidden_size: int = option(192, "width of the tiny Llama", minimum=8)
    intermediate_size: int = option(512, "width of its feed-forward layers", minimum=8)
    layers: int = option(2, "its number of layers", minimum=1)
    heads: int = option(6, "its attention heads", minimum=1)
    kv_heads: int = option(2, "its key-value heads", minimum=1)


@dataclass(frozen=True)
class Adapter:
    rank: int = option(8, "LoRA rank, the same for policy and reward model; 0 = no adapter, all parameters are trained",
                      minimum=0)
    alpha: int = option(16, "LoRA alpha (scale = alpha / rank)", minimum=1)
    dropout: float = option(0.0, "LoRA dropout in SFT and reward-model training; always 0 in policy optimisation",
                            minimum=0)
    target_modules: str = option("all-linear", "comma-separated module names, or all-linear = every linear layer "
                                               "of the backbone")


@dataclass(frozen=True)
class Decoding:
    max_prompt_tokens: int = option(64, "prompt length limit, cue and BOS included (tokens)", minimum=4)
    long_prompts: str = option("truncate", "what happens to longer prompts", ("truncate", "drop"))
    max_new_tokens: int = option(32, "completion length limit (tokens), for rollouts and evaluation alike", minimum=1)
    temperature: float = option(0.7, "sampling temperature of rollouts and evaluation", minimum=1e-6)


@dataclass(frozen=True)
class SFT:
    parameters: str = option("full", "what is trained; lora is merged into the base afterwards", ("full", "lora"))
    steps: int = option(150, "optimiser steps", minimum=1)
    epochs: float = option(0.0, "passes over the training rows; above 0 it replaces steps", minimum=0)
    batch: int = option(32, "sequences per step", minimum=1)
    lr: float = option(3e-3, "peak AdamW learning rate (10 % warm-up, cosine to zero)", minimum=0)


@dataclass(frozen=True)
class RewardTraining:
    parameters: str = option("full", "what is trained; lora is merged into the base afterwards", ("full", "lora"))
    steps: int = option(100, "optimiser steps", minimum=1)
    epochs: float = option(0.0, "passes over the training pairs; above 0 it replaces steps", minimum=0)
    batch: int = option(32, "pairs per step", minimum=1)
    lr: float = option(1e-3, "peak AdamW learning rate (10 % warm-up, cosine to zero)", minimum=0)
    score_weight: float = option(1.0, "weight of the squared score error beside Bradley-Terry, where a task has scores",
                                 minimum=0)


@dataclass(frozen=True)
class Judge:
    kind: str = option("auto", "auto = the task's gold score if it has one, else a larger reward model",
                       ("auto", "gold", "reward_model", "llm"))
    path: str = option("", "hub name or folder of the judging language model, for kind = llm")
    scale: float = option(1.5, "width of the judging reward model relative to the policy (tiny models only)", minimum=1)
    steps: int = option(150, "its training steps for language modelling, and again for preferences", minimum=1)


@dataclass(frozen=True)
class Budget:
    kind: str = option("forward_tokens", "what is limited", BUDGET_KINDS)
    limit: float = option(300_000, "how much of it every run may spend", minimum=1e-9)


@dataclass(frozen=True)
class Loop:
    iterations: int = option(4, "equal slices of the budget, each followed by a refinement of the reward model",
                             minimum=1)
    sequences_per_update: int = option(32, "completions (or sequences of pairs) per update of any method", minimum=2)
    refine_pairs: int = option(32, "judged pairs per refinement; 0 = the reward model stays as it is", minimum=0)
    refine_epochs: int = option(2, "passes over them", minimum=1)
    refine_batch: int = option(16, "pairs per optimiser step", minimum=1)
    refine_lr: float = option(5e-4, "AdamW learning rate of the refinement, linear to zero", minimum=0)
    keep_close: float = option(0.0, "share of the previous reward model merged back after a refinement "
                                    "(0.5 = the released keep_rm_close)", minimum=0)


@dataclass(frozen=True)
class Evaluation:
    points: int = option(8, "evaluations after the start, at equal fractions of the budget", minimum=1)
    validation_prompts: int = option(64, "prompts of the validation split", minimum=1)
    test_prompts: int = option(128, "prompts of the test split", minimum=1)
    samples: int = option(8, "test completions kept as text in every run directory", minimum=0)


@dataclass(frozen=True)
class Execution:
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int = option(1, "CPU threads of each run (more can change the last bits of a result)", minimum=1)
    workers: int = option(2, "runs at the same time, each in a process of its own; 0 = in this process", minimum=0)
    forward_batch: int = option(64, "sequences per forward pass and per generation call", minimum=1)
    backward_batch: int = option(64, "sequences per backward pass; gradients are accumulated", minimum=2)


SECTIONS: dict[str, type] = {
    "data": Data, "model": Model, "adapter": Adapter, "decoding": Decoding, "sft": SFT,
    "reward_model": RewardTraining, "judge": Judge, "budget": Budget, "loop": Loop, "evaluation": Evaluation,
    "execution": Execution,
}


@dataclass(frozen=True)
class Config:
    """Everything a grid of runs is made of.

    Attributes:
        methods: each method's overrides of its published defaults.
        tasks: each task's overrides of the sections, applied by :meth:`for_task`; the same for all its methods.
    """

    profile: str = "tiny"
    data: Data = Data()
    model: Model = Model()
    adapter: Adapter = Adapter()
    decoding: Decoding = Decoding()
    sft: SFT = SFT()
    reward_model: RewardTraining = RewardTraining()
    judge: Judge = Judge()
    budget: Budget = Budget()
    loop: Loop = Loop()
    evaluation: Evaluation = Evaluation()
    execution: Execution = Execution()
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def for_task(self, task: str) -> Config:
        """The configuration of the runs of ``task``: its overrides put in, those of other tasks left out."""
        config = replace(self, tasks={})
        for section, values in self.tasks.get(task, {}).items():
            config = with_section(config, section, values, f"overrides of {task}")
        return config

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON; the data folder's place on this machine is left out."""
        values = dataclasses.asdict(self)
        values["data"].pop("folder")
        values.pop("tasks")
        return values


def coerce(kind: type, name: str, value: Any, metadata: Any, origin: str) -> Any:
    """Return ``value`` as ``kind`` (int, float, bool or str; text is parsed).

    Raises:
        ConfigError: names ``origin`` and the key, and says what the key takes.
    """
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    error = ConfigError(f"{origin}: {name} takes {wanted}, not {value!r}.")
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower().replace("_", "")
        try:
            value = {"true": True, "false": False}[text] if kind is bool else float(text)
        except (KeyError, ValueError):
            raise error from None
    if (kind is str and not isinstance(value, str)) or (kind is bool and not isinstance(value, bool)):
        raise error
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise error
        if kind is int and int(value) != value:
            raise error
        value = kind(value)
        if metadata.get("minimum") is not None and value < metadata["minimum"]:
            raise ConfigError(f"{origin}: {name} must be at least {metadata['minimum']:g}, not {value:g}.")
    if metadata.get("choices") and value not in metadata["choices"]:
        raise ConfigError(f"{origin}: {name} takes one of {', '.join(metadata['choices'])}, not {value!r}.")
    return value


def fill(cls: type, current: Any, values: dict[str, Any], origin: str, prefix: str) -> Any:
    """Return the dataclass ``current`` of type ``cls`` with ``values`` checked and put in."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    checked = {}
    for key, value in values.items():
        check_name(key, fields, f"key of {prefix} in {origin}")
        checked[key] = coerce(hints[key], f"{prefix}.{key}", value, fields[key].metadata, origin)
    return replace(current, **checked)


def profiles() -> dict[str, str]:
    """Name and first head line of every profile."""
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for path in sorted(PROFILES.glob("*.toml"))
    }


def load_profile(name: str) -> Config:
    """Return the profile ``name``, or the profile in the TOML file ``name``.

    Raises:
        ConfigError: unknown profile, unreadable file, unknown key, wrong type.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = PROFILES / f"{check_name(name, profiles(), 'profile')}.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"profile {name}: cannot be read ({error.strerror}).") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"profile {path.name}: not valid TOML: {error}.") from None
    config = Config(profile=path.stem)
    for section, values in tables.items():
        if section == "methods":
            for method, overrides in values.items():
                config = with_method(config, method, overrides, path.name)
            continue
        if section == "tasks":
            config = with_tasks(config, values, path.name)
            continue
        check_name(section, SECTIONS, f"section in {path.name}")
        config = with_section(config, section, values, path.name)
    return config


def with_section(config: Config, section: str, values: dict[str, Any], origin: str) -> Config:
    """Return ``config`` with ``values`` put into ``section``."""
    return replace(config, **{section: fill(SECTIONS[section], getattr(config, section), values, origin, section)})


def with_tasks(config: Config, tasks: dict[str, dict[str, dict[str, Any]]], origin: str) -> Config:
    """Return ``config`` with overrides per task; every one of them is checked now."""
    from tasks import TASKS

    for task in tasks:
        check_name(task, TASKS, f"task in {origin}")
        for section in tasks[task]:
            check_name(section, SECTIONS, f"section of {task} in {origin}")
    config = replace(config, tasks=tasks)
    for task in tasks:
        config.for_task(task)
    return config


def with_user_values(config: Config, section: str, values: dict[str, Any], origin: str) -> Config:
    """Like :func:`with_section`, for what a user asked for on the command line: no task's override stands above it."""
    tasks = {task: {name: {k: v for k, v in fields.items() if name != section or k not in values}
                    for name, fields in sections.items()} for task, sections in config.tasks.items()}
    return with_section(replace(config, tasks=tasks), section, values, origin)


def with_method(config: Config, method: str, values: dict[str, Any], origin: str) -> Config:
    """Return ``config`` with hyperparameters of ``method`` overridden."""
    from baselines.registry import get_method

    checked = get_method(method).check(values, origin)
    return replace(config, methods={**config.methods, method: {**config.methods.get(method, {}), **checked}})


def with_assignments(config: Config, assignments: list[str], methods: list[str]) -> Config:
    """Apply ``--set key=value`` in order.

    A key is ``section.field``, ``method.hyperparameter``, or a bare name: a field that only one section has, or a
    hyperparameter, which is then set for each of ``methods`` that has it.

    Raises:
        ConfigError: no ``=``, unknown or ambiguous key, value of a wrong type.
    """
    from baselines.registry import METHODS, get_method

    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: expected key=value, for example --set loop.iterations=2.")
        origin, (head, _, tail) = f"--set {assignment}", key.partition(".")
        if tail and head in SECTIONS:
            config = with_user_values(config, head, {tail: value}, origin)
        elif tail:
            check_name(head, [*SECTIONS, *METHODS], "section or method")
            config = with_method(config, head, {tail: value}, origin)
        else:
            sections = [s for s, cls in SECTIONS.items() if key in {f.name for f in dataclasses.fields(cls)}]
            owners = [m for m in methods if key in get_method(m).fields()]
            if len(sections) + bool(owners) > 1:
                places = [f"{s}.{key}" for s in sections] + [f"{m}.{key}" for m in owners]
                raise ConfigError(f"{origin}: {key} is ambiguous; write one of {', '.join(places)}.")
            if not sections and not owners:
                known = {f.name for cls in SECTIONS.values() for f in dataclasses.fields(cls)}
                check_name(key, sorted(known.union(*(get_method(m).fields() for m in methods))), "key for --set")
            for section in sections:
                config = with_user_values(config, section, {key: value}, origin)
            for method in owners:
                config = with_method(config, method, {key: value}, origin)
    return config
