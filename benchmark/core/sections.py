"""The sections of a configuration: frozen dataclasses, one help line per field, what values it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmark.core.errors import ConfigError
from benchmark.core.fields import option
from benchmark.core.paths import BUNDLED

BUDGET_KINDS = ("forward_tokens", "seconds", "completions", "updates")
# Kind of judge → "module:Class" of those that a plugin brings (docs/plugins.md); ours are made where they are used.
JUDGES = dict.fromkeys(("auto", "gold", "reward_model", "llm"), "")


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
class PreferencesSettings:
    """Own data: where the task ``preferences`` finds what it needs."""

    hub: str = option("", "data set on the hub, ORG/NAME, for --data hub")
    hub_subset: str = option("", "its configuration, where it has several")
    hub_revision: str = option("", "its revision to pin; empty = newest, recorded after loading")
    train: str = option("", "files (less their ending) or hub splits of training rows: names with * and ?, separated "
                            "by commas; empty = what no other split takes")
    validation: str = option("", "those of validation rows; empty = names that begin with valid or dev")
    test: str = option("", "those of test rows; empty = names that begin with test or eval")
    held_out_share: float = option(0.1, "share of the prompts that are held out, by a hash, if no file or split is",
                                   minimum=0.001)
    split_seed: int = option(0, "seed of that hash", minimum=0)
    prompt: str = option("prompt", "column of the prompts; rows without it begin with their prompt")
    chosen: str = option("chosen", "column of the completions that are preferred")
    rejected: str = option("rejected", "column of the others")
    score_chosen: str = option("score_chosen", "column of their scores, where there are any")
    score_rejected: str = option("score_rejected", "column of the others' scores")
    cue: str = option("\n\nAssistant:", "what stands between a prompt and its completion")
    truncation: str = option("keep_end", "which part of a prompt survives when it is too long",
                             ("keep_end", "keep_start"))

    def __post_init__(self) -> None:
        if self.held_out_share >= 1:
            raise ConfigError(f"preferences.held_out_share = {self.held_out_share:g} leaves nothing to train on: give "
                              f"a number between 0 and 1.")
        if not self.cue.strip():
            raise ConfigError("preferences.cue is empty: a completion must be told from its prompt. Give it a word.")
        if len({self.prompt, self.chosen, self.rejected}) < 3:
            raise ConfigError("preferences: prompt, chosen and rejected must name three columns.")


@dataclass(frozen=True)
class Model:
    path: str = option("", "hub name, folder or GGUF file of a causal language model; bundled = the small one that "
                           "comes with the suite; empty = tiny Llama from the fields below")
    revision: str = option("", "hub revision to pin; empty = newest, recorded after loading")
    dtype: str = option("float32", "dtype of the base weights (adapters are always float32)",
                        ("float32", "bfloat16", "float16"))
    trust_remote_code: bool = option(False, "let the hub repository run its own code")
    vocabulary: int = option(1024, "entries of the byte-level BPE trained on the task's training rows", minimum=300)
    hidden_size: int = option(192, "width of the tiny Llama, and of its judging reward model before judge.scale",
                              minimum=8)
    intermediate_size: int = option(512, "width of its feed-forward layers", minimum=8)
    layers: int = option(2, "its number of layers", minimum=1)
    heads: int = option(6, "its attention heads", minimum=1)
    kv_heads: int = option(2, "its key-value heads", minimum=1)

    @property
    def tiny(self) -> bool:
        """Whether a judging reward model can be a wider Llama of its own, and need not start from π₀."""
        return self.path in ("", BUNDLED)


@dataclass(frozen=True)
class Adapter:
    kind: str = option("lora", "what is trained, of policy and reward model alike: LoRA factors, the gains of all "
                               "RMSNorm or LayerNorm layers (biases too), or all parameters; run --dry-run counts them",
                       ("lora", "norms", "full"))
    only: str = option("", r"regular expression that the name of a trained tensor, or of a module with LoRA factors, "
                           r"must match somewhere, such as layers\.1\. or ^model\.norm\.; empty = all of that kind")
    rank: int = option(8, "LoRA rank", minimum=0)
    alpha: int = option(16, "LoRA alpha (scale = alpha / rank)", minimum=1)
    dropout: float = option(0.0, "LoRA dropout in SFT and reward-model training; always 0 in policy optimisation",
                            minimum=0)
    target_modules: str = option("all-linear", "comma-separated module names, or all-linear = every linear layer "
                                               "of the backbone")

    def __post_init__(self) -> None:
        if self.rank < 1 and self.kind == "lora":
            raise ConfigError(f"adapter.rank must be at least 1, not {self.rank}. To train all parameters, say "
                              f"adapter.kind=full.")
        try:
            re.compile(self.only)
        except re.error as error:
            raise ConfigError(f"adapter.only = {self.only!r} is no regular expression ({error}). Put a backslash "
                              f"before what is meant as it stands, as in layers\\.1\\.") from None


@dataclass(frozen=True)
class Decoding:
    template: str = option("cue", "how a prompt asks: cue = by the task's cue; chat = as a message of the user's, cue "
                                  "included, in the tokenizer's chat template", ("cue", "chat"))
    max_prompt_tokens: int = option(64, "prompt length limit, cue and BOS (or the chat template) included (tokens)",
                                    minimum=4)
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
    parameters: str = option("full", "what is trained; lora is merged into the base afterwards; head = a linear head "
                                     "on frozen features, fitted once", ("full", "lora", "head"))
    steps: int = option(100, "optimiser steps", minimum=1)
    epochs: float = option(0.0, "passes over the training pairs; above 0 it replaces steps", minimum=0)
    batch: int = option(32, "pairs per step", minimum=1)
    lr: float = option(1e-3, "peak AdamW learning rate (10 % warm-up, cosine to zero)", minimum=0)
    score_weight: float = option(1.0, "weight of the squared score error beside Bradley-Terry, where a task has scores",
                                 minimum=0)
    ridge: float = option(0.1, "parameters = head: weight of its squared norm, over features of unit variance",
                          minimum=0)


@dataclass(frozen=True)
class JudgeSettings:
    kind: str = option("auto", "auto = the task's gold score if it has one, else a larger reward model; or "
                       "one of a plugin", JUDGES)
    path: str = option("", "hub name or folder of the judging language model, for kind = llm or one of a plugin")
    scale: float = option(1.5, "width of the judging reward model relative to the policy (tiny models only)", minimum=1)
    steps: int = option(150, "its training steps for language modelling, and again for preferences", minimum=1)
    parameters: str = option("full", "what of a judging reward model is trained, as in reward_model",
                             ("full", "lora", "head"))
    own_pairs: float = option(0.0, "share of the training prompts (0-1) whose pairs train the judge alone: r0, "
                                   "refinement and DPO never see them; 0 = it learns from all pairs, held-out ones too",
                              minimum=0)

    def __post_init__(self) -> None:
        if self.own_pairs >= 1:
            raise ConfigError(f"judge.own_pairs = {self.own_pairs:g}: a share below 1, so that r0 has pairs too.")


@dataclass(frozen=True)
class Budget:
    kind: str = option("forward_tokens", "what is limited", BUDGET_KINDS)
    limit: float = option(300_000, "how much of it every run may spend", minimum=1e-9)

    @staticmethod
    def parse(text: str, option: str = "--budget") -> Budget:
        """Read ``KIND=N``, N as in 300000, 300_000, 300k or 0.3M; ConfigError, naming ``option``, says what is allowed.
        """
        kind, _, number = text.partition("=")
        scale = {"k": "e3", "M": "e6"}.get(number[-1:], "")
        with contextlib.suppress(ValueError):
            limit = float((number[:-1] + scale if scale else number).replace("_", ""))
            if kind in BUDGET_KINDS and 0 < limit < math.inf:
                return Budget(kind, limit)
        raise ConfigError(f"{option} {text}: expected KIND=N with KIND one of {', '.join(BUDGET_KINDS)} and N a number "
                          f"above 0, for example {option} forward_tokens=300000 or forward_tokens=0.3M.")


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
class EvaluationSettings:
    points: int = option(8, "evaluations after the start, at equal fractions of the budget", minimum=1)
    validation_prompts: int = option(64, "prompts of the validation split; 0 = all", minimum=0)
    test_prompts: int = option(0, "prompts of the test split; 0 = all", minimum=0)
    validation_completions: int = option(2, "completions of each of them, of π₀ and of a policy that is far from it; "
                                            "1 = every policy is sampled from", minimum=1)
    test_completions: int = option(4, "the same on the test split", minimum=1)
    samples: int = option(8, "test completions kept as text in every run directory", minimum=0)
    reference_increase: float = option(0.0, "reward increase to shares of which table_target counts, frozen by an "
                                            "older search; 0 = none", minimum=0)


@dataclass(frozen=True)
class Execution:
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int = option(1, "CPU threads of each run (more can change the last bits of a result)", minimum=1)
    workers: int = option(2, "runs at the same time, each in a process of its own; 0 = in this process", minimum=0)
    forward_batch: int = option(64, "sequences per forward pass and per generation call", minimum=1)
    backward_batch: int = option(64, "sequences per backward pass; gradients are accumulated", minimum=2)
    keep: str = option("all", "what a finished run keeps: all, or curves = no adapters (their hashes stay in the "
                              "summary) and no log of updates", ("all", "curves"))
    checkpoint_seconds: float = option(60.0, "seconds between two checkpoints; 0 = after every batch", minimum=0)
    keep_every: int = option(0, "keep the policy's adapter at every so many updates, beside those of every iteration "
                                "(for visualise); 0 = iterations only", minimum=0)


@dataclass(frozen=True)
class EngineSettings:
    """Where runs are carried out, and what each of their bundles asks for; no result depends on it."""

    kind: str = option("local", "local = processes of this machine; slurm, ray: docs/scaling.md",
                       ("local", "slurm", "ray"))
    cluster: str = option("slurm", "of kind = slurm: slurm, or local = processes of this machine instead of sbatch, to "
                                   "try things out", ("slurm", "local"))
    bundle: int = option(1, "runs of one preparation that are one job of the engine; 0 = all of them", minimum=0)
    cpus: int = option(1, "CPUs of a bundle; with execution.threads and execution.workers they say how many of its "
                          "runs are made at the same time", minimum=1)
    gpus: float = option(0.0, "GPUs of a bundle (ray: also a part of one)", minimum=0)
    memory_gib: float = option(0.0, "memory of a bundle (GiB); 0 = the engine's default", minimum=0)
    minutes: int = option(240, "time limit of a bundle (minutes); slurm then puts it back into the queue, and it goes "
                               "on from its checkpoints", minimum=1)
    partition: str = option("", "Slurm partition")
    account: str = option("", "Slurm account")
    constraint: str = option("", "Slurm constraint; of ray the accelerator type. A run goes on from a checkpoint only "
                                 "on the same kind of processor and GPU")
    setup: str = option("", "of kind = slurm: shell lines before the work, such as module load cuda")
    retries: int = option(3, "how often a bundle is sent again that a node took down with it, or that ran out of time",
                          minimum=0)

    @property
    def remote(self) -> bool:
        return self.kind != "local"


SECTIONS: dict[str, type] = {
    "data": Data, "model": Model, "adapter": Adapter, "decoding": Decoding, "sft": SFT,
    "reward_model": RewardTraining, "judge": JudgeSettings, "budget": Budget, "loop": Loop,
    "evaluation": EvaluationSettings, "execution": Execution, "preferences": PreferencesSettings,
    "engine": EngineSettings,
}
STORED = {name: cls for name, cls in SECTIONS.items() if name != "engine"}  # those that a run's files hold

WITHOUT_EFFECT = ("workers", "keep", "keep_every", "checkpoint_seconds")  # fields of execution that change no result


def device_type(device: str) -> str:
    """``cuda:1`` → ``cuda``: which of several devices of one kind a run got is no part of what it is."""
    return device.partition(":")[0]


def with_effect(execution: dict[str, Any]) -> dict[str, Any]:
    """Those fields of ``execution`` that can change a result; of the device its type."""
    return {name: device_type(value) if name == "device" else value for name, value in execution.items()
            if name not in WITHOUT_EFFECT}


LATER_SECTIONS = ("preferences",)  # as a whole


def _always(value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda _: value


# Fields that came after protocol 1.1: section → field → what stood for it before, given the section's other fields.
LATER: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "adapter": {"kind": lambda adapter: "full" if adapter.get("rank") == 0 else "lora", "only": lambda adapter: ""},
    "reward_model": {"ridge": _always(0.1)}, "judge": {"parameters": _always("full"), "own_pairs": _always(0.0)},
    "decoding": {"template": _always("cue")},
    "evaluation": {"validation_completions": lambda evaluation: 1, "test_completions": lambda evaluation: 1},
    "method": {"samples": lambda method: 1, "warm_start_schedule": lambda method: "method",
               "missing_eos_penalty": lambda method: 0.0, "stop": lambda method: ""},  # hyperparameters
    **{name: {spec.name: _always(spec.default) for spec in dataclasses.fields(SECTIONS[name])}
       for name in LATER_SECTIONS},
}


def without_later(sections: dict[str, Any]) -> dict[str, Any]:
    """``sections`` less the fields of :data:`LATER` that say what was so before they came: the hash of a configuration,
    and whether two can be compared, must not depend on when it was written down."""
    left = {name: {key: value for key, value in fields.items()
                   if key not in LATER[name] or value != LATER[name][key](fields)}
            if name in LATER and isinstance(fields, dict) else fields for name, fields in sections.items()}
    return {name: fields for name, fields in left.items() if fields or name not in LATER_SECTIONS}


def with_later(sections: dict[str, Any]) -> dict[str, Any]:
    """Stored ``sections`` with the fields of :data:`LATER` that they lack; not every method has all hyperparameters."""
    return {name: {key: before(fields) for key, before in LATER[name].items()} | fields
            if name in LATER and name in SECTIONS and isinstance(fields, dict) else fields
            for name, fields in ({name: {} for name in LATER_SECTIONS} | sections).items()}
