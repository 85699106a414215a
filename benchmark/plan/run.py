"""Task × method × seed → runs. A run's identity is a hash of everything that can change its result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines.registry import get_method
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.naming import check_name
from benchmark.core.paths import model_place
from benchmark.core.provenance import folder_digest
from benchmark.core.records import Identity
from benchmark.core.sections import STORED, Budget, with_effect, with_later, without_later
from benchmark.plan.plugins import LOADED, brought, plugins_of
from benchmark.plan.resolve import Config, with_section
from benchmark.plan.sources import TaskSource
from tasks import TASKS

PROTOCOL = "1.2"  # results of different protocol versions are never put in one table
PLUGINS = "plugins"
MODEL_DIGESTS = ("model_digest", "judge_digest")  # of models that lie in a folder: its name alone says little


@dataclass(frozen=True)
class Run:
    """One cell of the grid."""

    task: str
    method: str
    seed: int
    config: Config
    versions: dict[str, Any] = field(hash=False)
    protocol: str = PROTOCOL  # a stored run has its own

    @property
    def start_versions(self) -> dict[str, str]:
        """Those of ``versions`` that its preparation depends on: plugins of methods have no part in that."""
        return {name: version for name, version in self.versions.items() if name != PLUGINS}

    @property
    def budget(self) -> Budget:
        return self.config.budget

    def resolved(self) -> dict[str, Any]:
        """The run's whole configuration: every section, and this method's hyperparameters."""
        values = self.config.as_dict()
        method = get_method(self.method).resolved(values.pop("methods"))
        return {**values, "method": method}

    @property
    def hash(self) -> str:
        """First 8 hexadecimal digits of the sha256 of all that can change the result: worker count, what is kept,
        how often checkpoints are made and which of several devices it gets are not in it."""
        values = without_later(self.resolved())
        values["execution"] = with_effect(values["execution"])
        values.pop("profile")
        parts = {"config": values, "task": self.task, "method": self.method, "seed": self.seed,
                 "version": get_method(self.method).version, "protocol": self.protocol, **self.versions}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        return f"{self.task}__{self.method}__s{self.seed}__{self.hash}"

    def identity(self) -> dict[str, Any]:
        """The ``run`` part of ``config.json`` and ``summary.json``."""
        return Identity(task=self.task, method=self.method, seed=self.seed, hash=self.hash, protocol=self.protocol,
                        profile=self.config.profile, budget=self.budget, **self.versions).as_row()


def load_run(folder: Path, trust_remote_code: bool = False) -> Run:
    """The run of a run directory, as its ``config.json`` tells it.

    Args:
        trust_remote_code: whether the user allows a run whose model brought code of its own.

    Raises:
        BenchmarkError: it cannot be read, or asks for what no file may ask for.
    """
    place = f"{folder.name}/config.json"
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchmarkError(f"{place}: not a run of this version ({error}).") from None
    return run_of(stored, place, trust_remote_code)


def run_of(stored: Any, place: str, trust_remote_code: bool = False) -> Run:
    """The run of the content of a ``config.json``.

    Args:
        place: of the file, for messages.
        trust_remote_code: as for :func:`load_run`, as are the errors.
    """
    try:
        identity, values = stored["run"], with_later(stored["config"])
        if missing := sorted(set(identity.get(PLUGINS) or {}) - set(LOADED)):
            raise ConfigError(f"it needs the plugin {', '.join(missing)}: pass --plugin FILE, or install it")
        sections = {name: cls(**values[name]) for name, cls in STORED.items()}
        method = get_method(identity["method"])
        config = Config(profile=values["profile"], **sections, methods={method.name: values["method"]})
        for name in STORED:
            with_section(config, name, values[name], "config.json")  # its types and ranges; the values stay as stored
        method.check(values["method"], "config.json")
        versions = {name: identity[name] for name in ("task_version", "revision", *MODEL_DIGESTS, PLUGINS)
                    if name in identity or name in ("task_version", "revision")}
        run = Run(check_name(identity["task"], TASKS, "task"), identity["method"], int(identity["seed"]), config,
                  versions, str(identity["protocol"]))
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError,
            ConfigError) as error:
        raise BenchmarkError(f"{place}: not a run of this version ({error}).") from None
    if config.model.trust_remote_code and not trust_remote_code:
        raise BenchmarkError(f"{place}: the run let model {config.model.path} run code of its own. A "
                             f"file cannot ask for that: pass --trust-remote-code if you trust the model's authors.")
    return run


def model_digests(config: Config) -> dict[str, str]:
    """What tells apart models that lie in folders: empty for hub models (their revision does) and tiny ones. Of a judge
    from a plugin it is its code, too."""
    plugin = brought("judge", config.judge.kind)
    asked = plugin or config.judge.kind == "llm"
    paths = {"model_digest": config.model.path, "judge_digest": config.judge.path if asked else ""}
    places = {name: Path(model_place(path)) for name, path in paths.items() if path}
    found = {name: folder_digest(place) for name, place in places.items() if place.exists()}
    if plugin:
        found["judge_digest"] = "+".join([plugin.digest, *filter(None, [found.get("judge_digest")])])
    return found


def make_runs(config: Config, sources: dict[str, TaskSource], methods: list[str], seeds: list[int]) -> list[Run]:
    """The grid in the order it is run: by task, then seed, then method, so that whole comparisons finish early."""
    for method in methods:
        k = get_method(method).resolved(config.methods).get("k", 2)
        if config.loop.sequences_per_update % k:
            raise ConfigError(f"{method}: loop.sequences_per_update = {config.loop.sequences_per_update} is not a "
                              f"multiple of k = {k} completions per prompt.")
    models = {task: model_digests(config.for_task(task)) for task in sources}

    def versions(task: str, method: str) -> dict[str, Any]:
        found = plugins_of(task, method, config.for_task(task).judge.kind)
        return {**sources[task].versions(), **models[task], **({PLUGINS: found} if found else {})}

    return [Run(task, method, seed, config.for_task(task), versions(task, method))
            for task in sources for seed in seeds for method in methods]
