"""What is measured: the sizes, and one :class:`Figure` for everything that gets processes of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from baselines.registry import METHODS, get_method, method_groups
from benchmark.core.errors import ConfigError
from benchmark.core.naming import check_name
from benchmark.core.sections import STORED
from benchmark.plan.resolve import Config, with_assignments

PARTS = ("methods", "floors", "peers", "sweeps")
DEFAULT_PARTS = ("methods", "floors", "peers")
FLOORS = ("generate", "forward", "forward-twice", "forward-backward")
PEERS = {"trl-rloo": "rloo", "trl-online-dpo": "online-dpo", "trl-dpo": "dpo"}  # and what each is compared with
ALL = "all"  # variant: no adapter, all parameters trained
NORM, QUERIES = "final-norm", "final-norm-8-queries"  # variants of MeZO: only the final norm trained; with 8 directions
WARM_START = "warm-start"  # variant: the first iteration of a method that begins otherwise
SWEPT = ("rloo", "mezo", "zopro")

# Prompts are 2/3 to 1 times decoding.max_prompt_tokens long, completions exactly decoding.max_new_tokens.
SIZES: dict[str, tuple[str, ...]] = {
    "tiny": (
        "hidden_size=192", "intermediate_size=512", "layers=2", "heads=6", "kv_heads=2", "vocabulary=2048",
        "rank=8", "alpha=16", "max_prompt_tokens=48", "max_new_tokens=32", "forward_batch=64", "backward_batch=64",
    ),
    "1b": (  # the shape of Llama-3.2-1B, batches as in the profile `paper`
        "hidden_size=2048", "intermediate_size=8192", "layers=16", "heads=32", "kv_heads=8", "vocabulary=128256",
        "dtype=bfloat16", "rank=64", "alpha=128", "max_prompt_tokens=307", "max_new_tokens=53", "forward_batch=64",
        "backward_batch=8",
    ),
}
COMMON = ("temperature=1.0", "sequences_per_update=64", "rloo.k=4", "ppo.k=4", "mezo.k=4", "zopro.k=4", "rloo.epochs=1",
          "ppo.epochs=1", "online-dpo.epochs=1", "mezo.epochs=1", "zopro.epochs=1",
          "mezo.lr=1e-6", "mezo-dpo.lr=1e-6", "zopro.lr=1e-6")  # random weights must not run away
UPDATES = {"tiny": (2, 5), "1b": (1, 3)}  # warm-up and timed updates of a process; an odd number has a middle one
FACTORS = {"width": (0.5, 1, 2, 4), "depth": (0.5, 1, 2, 4), "rank": (0.25, 1, 4, 0), "batch": (0.25, 0.5, 1, 2),
           "length": (0.25, 0.5, 1, 2)}
LARGE = ("1b",)  # sizes that are only made smaller in width and depth
AXES = {
    "width": ("model.hidden_size", "model.intermediate_size", "model.heads", "model.kv_heads"),
    "depth": ("model.layers",), "rank": ("adapter.rank",), "batch": ("loop.sequences_per_update",),
    "length": ("decoding.max_new_tokens",),
}


@dataclass(frozen=True)
class Figure:
    """One thing to measure.

    Attributes:
        part: methods, floors, peers or sweeps.
        name: a method, or one of FLOORS or PEERS.
        variant: "", ALL, NORM, QUERIES or WARM_START.
        warmup, timed: updates (or repetitions) before and during the measurement, in each process.
        point: where a sweep changes something: axis=value.
    """

    part: str
    name: str
    variant: str
    config: Config
    warmup: int
    timed: int
    point: str = ""

    @property
    def key(self) -> str:
        return "/".join(filter(None, (self.part, self.point, self.name, self.variant)))

    @property
    def sequences(self) -> int:
        """Sequences per update: completions, or sequences of pairs."""
        return self.config.loop.sequences_per_update

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries for the child process."""
        return {"part": self.part, "name": self.name, "variant": self.variant, "config": self.config.as_dict(),
                "warmup": self.warmup, "timed": self.timed, "point": self.point}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Figure:
        config = values["config"]
        sections = {name: cls(**config[name]) for name, cls in STORED.items()}
        return Figure(**{**values, "config": Config(config["profile"], **sections, methods=config["methods"])})


def configure(size: str, assignments: Sequence[str] = (), threads: int = 1, device: str = "cpu") -> Config:
    """The workload of ``size``, changed by ``--set`` assignments.

    Raises:
        ConfigError: names what cannot be used, and the remedy.
    """
    check_name(size, SIZES, "size")
    if threads < 1:
        raise ConfigError(f"bench: --threads takes 1 or more, not {threads}.")
    execution = (f"execution.threads={threads}", f"execution.device={device}")
    config = with_assignments(Config(profile=f"bench-{size}"), [*SIZES[size], *COMMON, *execution], [])
    config = with_assignments(config, list(assignments), list(METHODS))
    if config.adapter.kind != "lora":
        raise ConfigError("bench: all parameters trained are measured beside an adapter. Leave adapter.kind at lora.")
    if config.model.path:
        raise ConfigError("bench: models are made up from model.hidden_size and its neighbours. Leave model.path out.")
    if config.model.hidden_size % (2 * config.model.heads) or config.model.heads % config.model.kv_heads:
        raise ConfigError(
            f"bench: model.hidden_size = {config.model.hidden_size} must be an even multiple of model.heads = "
            f"{config.model.heads}, and that a multiple of model.kv_heads = {config.model.kv_heads}.")
    return config


def check_batches(config: Config, methods: Sequence[str]) -> None:
    """ConfigError where the sequences of an update are no whole number of pairs or of a method's prompts."""
    sequences = config.loop.sequences_per_update
    for name in methods:
        k = get_method(name).resolved(config.methods).get("k", 2)
        if sequences % k:
            raise ConfigError(f"bench: loop.sequences_per_update = {sequences} is not a multiple of {name}'s "
                              f"k = {k} completions per prompt.")
    if sequences % 2:
        raise ConfigError(f"bench: loop.sequences_per_update = {sequences} is not a number of pairs.")


def whole_model(config: Config) -> Config:
    """The same with all parameters trained."""
    return replace(config, adapter=replace(config.adapter, kind="full"))


def final_norm(config: Config, queries: int) -> Config:
    """The same with the final norm's gains trained alone, and so many directions an update of MeZO."""
    config = with_assignments(config, [f"mezo.samples={queries}"], ["mezo"])
    return replace(config, adapter=replace(config.adapter, kind="norms", only=r"^model\.norm\."))


def make_figures(config: Config, size: str, parts: Sequence[str], methods: Sequence[str] | None = None
                 ) -> tuple[list[Figure], list[str]]:
    """Everything that is to be measured, in the order of one round, and notes on what is left out.

    Args:
        methods: None = the main ones.
    """
    methods = list(methods) if methods is not None else method_groups()["main"]
    check_batches(config, methods)
    warmup, timed = UPDATES[size]
    figures, notes = [], []

    def add(part: str, name: str, variant: str = "") -> None:
        shape = whole_model(config) if variant == ALL else config
        if variant in (NORM, QUERIES):
            shape = final_norm(config, 8 if variant == QUERIES else 1)
        figures.append(Figure(part, name, variant, shape, warmup, timed))

    if "methods" in parts:
        for name in methods:
            method = METHODS[name]
            if method.warm_start:
                add("methods", name, WARM_START)
            add("methods", name)
            if method.zeroth_order and method.objective != "dpo":
                add("methods", name, ALL)
            if name == "mezo":
                add("methods", name, NORM)
                add("methods", name, QUERIES)
    if "floors" in parts:
        for variant in ("", ALL):
            for name in FLOORS:
                if not (variant and name == "generate"):
                    add("floors", name, variant)
    if "peers" in parts and importlib.util.find_spec("trl") is None:
        notes.append("TRL is not installed, so there are no peers: pip install trl.")
    elif "peers" in parts:
        check_batches(config, ["rloo"])
        for name, ours in PEERS.items():
            if ours in methods:
                add("peers", name)
    if "sweeps" in parts:
        figures += sweep_figures(config, size, warmup, timed)
    return figures, notes


def sweep_figures(config: Config, size: str, warmup: int, timed: int) -> list[Figure]:
    """Every swept method at every point; the point that all axes share comes once, as ``base``."""
    points = {"base": config}
    for axis in AXES:
        for value, changed in sweep_points(config, size, axis):
            points.setdefault(point_name(axis, value, changed == config), changed)
    for changed in points.values():
        check_batches(changed, SWEPT)
    return [Figure("sweeps", name, "", changed, warmup, timed, point)
            for point, changed in points.items() for name in SWEPT]


def point_name(axis: str, value: int, shared: bool) -> str:
    """What ``bench.json`` calls a point of a sweep."""
    return "base" if shared else f"{axis}={value}" if value else "full"


def sweep_points(config: Config, size: str, axis: str) -> list[tuple[int, Config]]:
    """Values of ``axis`` (that of its first field; 0 = all parameters) with their configurations."""
    points: list[tuple[int, Config]] = []
    for factor in FACTORS[axis]:
        if not factor:
            points.append((0, whole_model(config)))
            continue
        if factor > 1 and size in LARGE and axis in ("width", "depth"):
            continue
        changed = config
        for path in AXES[axis]:
            section, name = path.split(".")
            value = getattr(getattr(config, section), name) * factor
            if value != int(value):  # half a head: no such shape
                break
            changed = replace(changed, **{section: replace(getattr(changed, section), **{name: int(value)})})
        else:
            section, name = AXES[axis][0].split(".")
            points.append((getattr(getattr(changed, section), name), changed))
    return points
