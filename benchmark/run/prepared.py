"""A finished preparation, read from its folder: what all methods of a (task, model, seed) start from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmark.core import provenance
from benchmark.core.digests import PREPARING, code_digest
from benchmark.core.errors import BenchmarkError, ModelError
from benchmark.core.files import check, read_object, unreadable
from benchmark.core.meter import Meter
from benchmark.core.sections import Model, with_effect, without_later
from benchmark.lm.adapted import Adapted
from benchmark.lm.encoder import Encoder
from benchmark.lm.loading import device_of, load_causal_lm, load_raw_tokenizer, load_scalar_model
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.trained import add_adapter
from benchmark.lm.training import Pair
from benchmark.plan.resolve import Config
from benchmark.plan.run import Run
from benchmark.plan.sources import adapter_of
from benchmark.run.judge import GoldJudge, Judge, LLMJudge, RewardModelJudge, outside_judge
from tasks.adapter import TaskAdapter
from tasks.examples import Prompt

VERSION = "4"  # part of the cache key: raise it when a preparation would come out different
CHECKSUMS = "checksums.json"
SURE = 32  # new tokens within which the completions of any bundled pair differ: none was ever left out
COMPUTED_WITH = ("device", "threads", "forward_batch", "backward_batch")  # fields of execution that can move last bits


def preparation_key(config: Config, task: str, seed: int, versions: dict[str, str]) -> str:
    """Hash of all that changes a preparation; nothing of the machine's folders is in it, so that caches can be moved.

    Args:
        versions: the task's version and data revision, and the digests of models that lie in folders.
    """
    values = without_later(config.as_dict())
    parts = {name: values[name] for name in ("data", "model", "adapter", "decoding", "sft", "reward_model", "judge")}
    for section, name in (("data", "max_rejected"), ("adapter", "kind"), ("adapter", "only")):
        parts[section].pop(name, None)
    execution = with_effect(values["execution"])
    parts |= {"execution": {k: execution[k] for k in COMPUTED_WITH},
              "prompts": [vars(config.evaluation)[f"{split}_{what}"] for split in ("validation", "test")
                          for what in ("prompts", "completions")],
              "task": task, "seed": seed, "preparation": VERSION, "torch": torch.__version__,
              "packages": provenance.packages(), **versions}
    if config.data.source != "bundled" or config.decoding.max_new_tokens < SURE:
        parts["equal pairs"] = "left out"
    if config.adapter.dropout:  # its stream once was the process's own; what has none is as it was
        parts["dropout"] = "a stream of its own"
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def preparation_folder(run: Run, cache: Path) -> Path:
    """Where the preparation of ``run`` lies in ``cache``, or would."""
    key = preparation_key(run.config, run.task, run.seed, run.start_versions)
    return cache / f"{run.task}__s{run.seed}__{key}"


@dataclass(frozen=True)
class PreparedData:
    """The texts that runs work with, as ``data.json`` holds them."""

    prompts: dict[str, list[Prompt]]  # by split
    pairs: list[Pair]  # for training, preferred completion first


@dataclass
class Prepared:
    """A finished preparation, read from its folder. Loads models on request; each caller gets its own copy.

    Raises:
        BenchmarkError: a file of it was altered after it was prepared.
    """

    folder: Path
    config: Config
    task: str

    def __post_init__(self) -> None:
        check_finished(self.folder)
        self.adapter = adapter_of(self.config, self.task)
        self.device = device_of(self.config.execution)
        self.info: dict[str, Any] = json.loads((self.folder / "preparation.json").read_text(encoding="utf-8"))

    @cached_property
    def data(self) -> PreparedData:
        values = json.loads((self.folder / "data.json").read_text(encoding="utf-8"))
        prompts = {split: [Prompt(**row) for row in rows] for split, rows in values["prompts"].items()}
        return PreparedData(prompts, [tuple(pair) for pair in values["pairs"]])

    @cached_property
    def encoder(self) -> Encoder:
        return read_encoder(self.folder, self.config, self.adapter)

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.config.model.dtype)

    def policy(self, meter: Meter, seed: object) -> Policy:
        """π₀, ready to be trained."""
        model = load_causal_lm(self.folder / "policy", self.config.model, self.dtype).to(self.device)
        model = add_adapter(model, self.config.adapter, "policy", seed).to(self.device)
        return Policy(model, self.encoder, meter, self.config.execution.forward_batch, keep_start=True)

    def reward(self, meter: Meter, seed: object, name: str = "reward", policy: Adapted | None = None) -> RewardModel:
        """r₀, ready to be trained, its head included; also the start of PPO's critic (``name`` = critic)."""
        model = load_scalar_model(self.folder / "reward", self.config.model, self.dtype, seed)
        model = add_adapter(model, self.config.adapter, name, seed).to(self.device)
        share = parameter_count(model) / parameter_count(policy.model) if policy else 1.0
        return RewardModel(model, self.encoder, meter, self.config.execution.forward_batch, share)

    def judge(self) -> Judge:
        """The judge that the preparation settled on."""
        kind = self.info["judge"]["kind"]
        if kind == "gold":
            return GoldJudge(self.adapter.gold)
        if kind == "llm":
            return load_llm_judge(self.config, self.adapter.prompt_role, self.adapter.completion_role, self.device)
        if kind != "reward_model":
            return outside_judge(kind)(self.config.judge, self.adapter, self.device)
        model = load_scalar_model(self.folder / "judge", self.config.model, torch.float32, 0).to(self.device)
        return RewardModelJudge(RewardModel(model, self.encoder, Meter(), self.config.execution.forward_batch))


def other_code(folder: Path) -> bool:
    """Whether other code than the present one made the finished preparation in ``folder``."""
    return read_object(folder / "preparation.json").get("code") != code_digest(PREPARING)


def read_encoder(folder: Path, config: Config, adapter: TaskAdapter) -> Encoder:
    """The encoder of a preparation, finished or not, from its tokenizer."""
    from transformers import AutoTokenizer

    # Said either way: left unsaid, the library asks at the terminal whether a folder may run its code.
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", trust_remote_code=config.model.trust_remote_code)
    return Encoder(tokenizer, adapter.cue, adapter.truncation, config.decoding)


def parameter_count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def load_llm_judge(config: Config, prompt_role: str, completion_role: str, device: torch.device) -> LLMJudge:
    """The judging language model named by ``judge.path``; ModelError if it cannot be loaded."""
    settings = judge_model(config)
    tokenizer = load_raw_tokenizer(settings)
    model = load_causal_lm(settings.path, settings, getattr(torch, config.model.dtype)).to(device)
    return LLMJudge(model, tokenizer, prompt_role, completion_role, config.execution.forward_batch)


def check_finished(folder: Path) -> None:
    """BenchmarkError if a file of the finished preparation in ``folder`` was altered or is gone.

    Preparations of earlier versions have no checksums and are taken as they are.
    """
    try:
        digests = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        for name, digest in digests.items():
            check(folder / name, digest)
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, FileNotFoundError) and Path(error.filename).name == CHECKSUMS:
            return
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise unreadable(f"cache {folder.name}, {Path(error.filename or CHECKSUMS).name}", error,
                             "Look at the disk, or pass another --cache.") from None
        reason = f"{Path(error.filename).name} is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise BenchmarkError(f"cache {folder.name}: altered after it was prepared ({reason}). Remove that folder; the "
                             f"same command makes it again.") from None


def judge_model(config: Config) -> Model:
    """How the judging language model is loaded: as the policy, but from its own place, and without its code.

    Raises:
        ModelError: no model is named.
    """
    if not config.judge.path:
        raise ModelError("judge.kind = llm needs a model: --set judge.path=NAME_OR_FOLDER.")
    trusted = config.model.trust_remote_code and config.judge.path == config.model.path  # who trusts one names one
    return replace(config.model, path=config.judge.path, revision="", trust_remote_code=trusted)
