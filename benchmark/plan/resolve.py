"""Configuration: profiles, overrides per task and method, ``--set``. Unknown keys and wrong types are errors.

A profile (``benchmark/plan/profiles/*.toml``) overrides the defaults of :mod:`benchmark.core.sections`, and
``--set key=value`` the profile. The hyperparameters of the methods live in :mod:`baselines.hyperparameters`; what a
search found (the profile's ``tuned`` file), the profile's ``[methods.NAME]`` table and ``--set NAME.key=value``
override them, each the one before.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from baselines.registry import METHODS, get_method
from benchmark.core.errors import ConfigError
from benchmark.core.fields import fill
from benchmark.core.naming import check_name
from benchmark.core.paths import NAME, folder_name
from benchmark.core.sections import (
    SECTIONS,
    SFT,
    Adapter,
    Budget,
    Data,
    Decoding,
    EngineSettings,
    EvaluationSettings,
    Execution,
    JudgeSettings,
    Loop,
    Model,
    PreferencesSettings,
    RewardTraining,
)
from tasks import TASKS

PROFILES = Path(__file__).parent / "profiles"
# Of a file that `tune` wrote; searched, chosen and reference_increase (levels) are of files that older versions wrote.
TUNED_TABLES = ("search", "found", "methods", "searched", "chosen", "reference_increase")
KEEP_LEVELS = ("evaluation", "execution", "engine")  # sections that leave scale of rewards and budget as they are


@dataclass(frozen=True)
class Config:
    """Everything a grid of runs is made of.

    Attributes:
        methods: each method's overrides of its published defaults.
        tasks: each task's overrides of the sections, applied by :meth:`for_task`; the same for all its methods.
    """

    profile: str = "tiny"
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    adapter: Adapter = field(default_factory=Adapter)
    decoding: Decoding = field(default_factory=Decoding)
    sft: SFT = field(default_factory=SFT)
    reward_model: RewardTraining = field(default_factory=RewardTraining)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    budget: Budget = field(default_factory=Budget)
    loop: Loop = field(default_factory=Loop)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    execution: Execution = field(default_factory=Execution)
    preferences: PreferencesSettings = field(default_factory=PreferencesSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def for_task(self, task: str) -> Config:
        """The configuration of the runs of ``task``: its overrides put in, those of other tasks left out; a section
        with the name of a task is that task's."""
        config = replace(self, tasks={}, **{name: cls() for name, cls in SECTIONS.items() if name in TASKS
                                            and name != task})
        for section, values in self.tasks.get(task, {}).items():
            config = with_section(config, section, values, f"overrides of {task}")
        return config

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON; where data and models lie on this machine, and where runs are carried
        out, is left out."""
        values = dataclasses.asdict(self)
        values["data"].pop("folder")
        for name in ("tasks", "engine"):
            values.pop(name)
        for section in ("model", "judge"):
            values[section]["path"] = folder_name(values[section]["path"])
        return values


def profiles() -> dict[str, str]:
    """Name and first head line of every profile."""
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for path in sorted(PROFILES.glob("*.toml"))
    }


def load_profile(name: str) -> Config:
    """Return the profile ``name``, or the profile in the TOML file ``name``.

    Its key ``tuned`` names the outcome of a search (a path relative to the profile): hyperparameters and reference
    levels come from there, and what the profile itself says stands above them.

    Raises:
        ConfigError: unknown profile, unreadable file, unknown key, wrong type; a file that lets a model run code.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = PROFILES / f"{check_name(name, profiles(), 'profile')}.toml"
    tables = read_toml(path, f"profile {path.name}")
    if not NAME.fullmatch(path.stem):  # the result folder is named after it
        raise ConfigError(f"profile {path.name}: a profile's name has letters, digits, '.', '_' and '-' only. Rename "
                          f"the file.")
    config = Config(profile=path.stem)
    if (tuned := tables.pop("tuned", None)) is not None:
        if not isinstance(tuned, str):
            raise ConfigError(f"profile {path.name}: tuned takes the path of a file that `tune` wrote, not {tuned!r}.")
        config = with_tuned(config, path.parent / tuned, f"{path.name}, tuned = {tuned!r}")
    for section, values in tables.items():
        if section == "methods":
            for method, overrides in values.items():
                config = with_method(config, method, overrides, path.name)
            continue
        if section == "tasks":
            config = with_tasks(config, values, path.name)
            continue
        check_name(section, [*SECTIONS, "methods", "tasks", "tuned"], f"section in {path.name}")
        config = with_section(config, section, values, path.name)
    trusting = [task for task in config.tasks if config.for_task(task).model.trust_remote_code]
    if config.model.trust_remote_code or trusting:
        raise ConfigError(f"profile {path.name}: model.trust_remote_code lets a model's authors run code here, so a "
                          f"file cannot ask for it. Leave it out of the profile, and if you trust the model say "
                          f"--set model.trust_remote_code=true yourself.")
    return config


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file; ConfigError naming ``what`` if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{what}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what}: not valid TOML: {error}.") from None


def with_tuned(config: Config, path: Path, origin: str) -> Config:
    """Return ``config`` with the hyperparameters and reference levels of a search's outcome."""
    tables = read_toml(path, origin)
    for table in tables:
        check_name(table, TUNED_TABLES, f"table in {path.name}")
    for method, values in tables.get("methods", {}).items():
        config = with_method(config, method, values, path.name)
    levels = tables.get("reference_increase", {})
    return with_tasks(config, {task: {"evaluation": {"reference_increase": level}} for task, level in levels.items()},
                      path.name)


def with_section(config: Config, section: str, values: dict[str, Any], origin: str) -> Config:
    """Return ``config`` with ``values`` put into ``section``."""
    return replace(config, **{section: fill(SECTIONS[section], getattr(config, section), values, origin, section)})


def with_tasks(config: Config, tasks: dict[str, dict[str, dict[str, Any]]], origin: str) -> Config:
    """Return ``config`` with further overrides per task, above those it has; every one of them is checked now."""
    merged = {task: dict(sections) for task, sections in config.tasks.items()}
    for task, sections in tasks.items():
        check_name(task, TASKS, f"task in {origin}")
        for section, values in sections.items():
            check_name(section, SECTIONS, f"section of {task} in {origin}")
            mine = merged.setdefault(task, {})
            mine[section] = {**mine.get(section, {}), **values}
    config = replace(config, tasks=merged)
    for task in tasks:
        config.for_task(task)
    return config


def with_user_values(config: Config, section: str, values: dict[str, Any], origin: str) -> Config:
    """Like :func:`with_section`, for what a user asked for on the command line: no task's override stands above it.

    A reference level was measured under the profile as it is. Where ``values`` change a task's data, models, training,
    budget or loop, that task's level no longer applies and is dropped.
    """
    changed = with_section(replace(config, tasks=_without(config.tasks, section, values)), section, values, origin)
    moved = [task for task in config.tasks if section not in KEEP_LEVELS
             and getattr(changed.for_task(task), section) != getattr(config.for_task(task), section)]
    rest = {task: changed.tasks[task] for task in moved}
    return replace(changed, tasks=changed.tasks | _without(rest, "evaluation", ["reference_increase"]))


def _without(tasks: dict[str, dict[str, dict[str, Any]]], section: str, keys: Collection[str]) -> dict[str, Any]:
    """Overrides per task less ``keys`` of ``section``."""
    return {task: {name: {k: v for k, v in values.items() if name != section or k not in keys}
                   for name, values in sections.items()} for task, sections in tasks.items()}


def with_method(config: Config, method: str, values: dict[str, Any], origin: str) -> Config:
    """Return ``config`` with hyperparameters of ``method`` overridden."""
    checked = get_method(method).check(values, origin)
    return replace(config, methods={**config.methods, method: {**config.methods.get(method, {}), **checked}})


def with_assignments(config: Config, assignments: list[str], methods: list[str]) -> Config:
    """Apply ``--set key=value`` in order.

    A key is ``section.field``, ``method.hyperparameter``, or a bare name: a field that only one section has, or a
    hyperparameter, which is then set for each of ``methods`` that has it.

    Raises:
        ConfigError: no ``=``, unknown or ambiguous key, value of a wrong type.
    """
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
