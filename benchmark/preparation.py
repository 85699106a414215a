"""What all methods of a (task, model, seed) share: tokenizer, π₀ by SFT, reward model r₀, judge, prompts and pairs.

Built once, kept in a cache folder that is named by a hash of everything that can change its content, and renamed into
place only when whole. Until then finished stages and checkpoints lie in a folder beside it, for the next attempt.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmark import provenance
from benchmark.budget import Meter
from benchmark.checkpoint import Periodic
from benchmark.config import Config
from benchmark.encoding import Encoder
from benchmark.errors import DataError
from benchmark.files import write_json
from benchmark.judge import GoldJudge, Judge, LLMJudge, RewardModelJudge
from benchmark.loading import (
    device_of,
    judge_model,
    load_causal_lm,
    load_raw_tokenizer,
    load_scalar_model,
    load_tokenizer,
    revision_of,
    tiny_llama,
    tokenizer_texts,
    train_tokenizer,
)
from benchmark.locks import locked
from benchmark.models import Adapted, Policy, RewardModel, add_adapter
from benchmark.paths import folder_name
from benchmark.rows import Rows
from benchmark.stages import Stages, check_finished
from benchmark.training import accuracy, step_count, train_reward, train_sft

VERSION = "2"  # part of the cache key: raise it when a preparation would come out different
COMPUTED_WITH = ("device", "threads", "forward_batch", "backward_batch")  # fields of execution that can move last bits
Report = Callable[[str, float], None]


def preparation_key(config: Config, task: str, seed: int, versions: dict[str, str]) -> str:
    """Hash of all that changes a preparation; nothing of the machine's folders is in it, so that caches can be moved.

    Args:
        versions: the task's version and data revision, and the digests of models that lie in folders.
    """
    values = config.as_dict()
    parts = {name: values[name] for name in ("data", "model", "adapter", "decoding", "sft", "reward_model", "judge")}
    del parts["data"]["max_rejected"]
    parts |= {"execution": {k: values["execution"][k] for k in COMPUTED_WITH},
              "prompts": (config.evaluation.validation_prompts, config.evaluation.test_prompts),
              "task": task, "seed": seed, "preparation": VERSION, "torch": torch.__version__,
              "packages": provenance.packages(), **versions}
    if config.adapter.dropout:  # its stream once was the process's own; what has none is as it was
        parts["dropout"] = "a stream of its own"
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


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
        from tasks import get_task

        check_finished(self.folder)
        self.adapter = get_task(self.task)
        self.device = device_of(self.config.execution)
        self.info: dict[str, Any] = json.loads((self.folder / "preparation.json").read_text(encoding="utf-8"))

    @cached_property
    def data(self) -> dict[str, Any]:
        """``prompts`` (split → list of {text, reference}) and ``pairs`` (list of [prompt, chosen, rejected])."""
        return json.loads((self.folder / "data.json").read_text(encoding="utf-8"))

    @cached_property
    def encoder(self) -> Encoder:
        from transformers import AutoTokenizer

        # Said either way: left unsaid, the library asks at the terminal whether a folder may run its code.
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer",
                                                  trust_remote_code=self.config.model.trust_remote_code)
        return Encoder(tokenizer, self.adapter.cue, self.adapter.truncation, self.config.decoding)

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.config.model.dtype)

    def policy(self, meter: Meter, seed: object) -> Policy:
        """π₀ with a fresh adapter; with rank 0 two copies of it, one to be trained and one that stays."""
        def load() -> torch.nn.Module:
            return load_causal_lm(self.folder / "policy", self.config.model, self.dtype).to(self.device)

        model = add_adapter(load(), self.config.adapter, 0.0, "policy", seed).to(self.device)
        return Policy(model, self.encoder, meter, self.config.execution.forward_batch,
                      reference_model=None if self.config.adapter.rank else load())

    def reward(self, meter: Meter, seed: object, name: str = "reward", policy: Adapted | None = None) -> RewardModel:
        """r₀ with a fresh adapter and a trainable head; also the start of PPO's critic (``name`` = critic)."""
        model = load_scalar_model(self.folder / "reward", self.config.model, self.dtype, seed)
        model = add_adapter(model, self.config.adapter, 0.0, name, seed).to(self.device)
        if self.config.adapter.rank:
            model.base_model.model.score.requires_grad_(True)
        share = parameter_count(model) / parameter_count(policy.model) if policy else 1.0
        return RewardModel(model, self.encoder, meter, self.config.execution.forward_batch, share)

    def judge(self) -> Judge:
        """The judge that the preparation settled on."""
        kind = self.info["judge"]["kind"]
        if kind == "gold":
            return GoldJudge(self.adapter.gold)
        if kind == "llm":
            return load_llm_judge(self.config, self.adapter.prompt_role, self.adapter.completion_role, self.device)
        model = load_scalar_model(self.folder / "judge", self.config.model, torch.float32, 0).to(self.device)
        return RewardModelJudge(RewardModel(model, self.encoder, Meter(), self.config.execution.forward_batch))


def parameter_count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def load_llm_judge(config: Config, prompt_role: str, completion_role: str, device: torch.device) -> LLMJudge:
    """The judging language model named by ``judge.path``; ModelError if it cannot be loaded."""
    settings = judge_model(config)
    tokenizer = load_raw_tokenizer(settings)
    model = load_causal_lm(settings.path, settings, getattr(torch, config.model.dtype)).to(device)
    return LLMJudge(model, tokenizer, prompt_role, completion_role, config.execution.forward_batch)


def judge_kind(config: Config, has_gold: bool) -> str:
    """Resolve ``judge.kind = auto``; DataError if the gold score is asked for where there is none."""
    if config.judge.kind == "auto":
        return "gold" if has_gold else "reward_model"
    if config.judge.kind == "gold" and not has_gold:
        raise DataError("judge.kind = gold, but only the bundled rows have a gold score. "
                        "Use --set judge.kind=reward_model or judge.kind=llm.")
    return config.judge.kind


def prepare(folder: Path, config: Config, task: str, data: Any, seed: int, report: Report,
            note: Callable[[str], None] = lambda text: None) -> Prepared:
    """Build the preparation in ``folder``, unless it is there; what an interrupted attempt got done is kept.

    Args:
        data: the task's :class:`tasks.examples.TaskData`.
        report: told the stage and the share of it that is done.
        note: told what of an earlier attempt is taken up or damaged.

    Raises:
        BenchmarkError: the model cannot be loaded, too few rows, or a loss that is not finite.
    """
    part = folder.with_name(f"{folder.name}.part")
    with locked(folder, float("inf"), lambda: report("waiting for another command", 0.0)):
        if (folder / "preparation.json").is_file():
            return Prepared(folder, config, task)
        try:
            stages = Stages(part, config.execution.checkpoint_seconds, note)
            _build(part, config, task, data, seed, report, folder.name.rsplit("__", 1)[-1], stages)
        except DataError:  # its rows will not do, now or later; what else may fail can pass, and finished stages stay
            shutil.rmtree(part, ignore_errors=True)
            raise
        stages.finish(folder)
    return Prepared(folder, config, task)


def _build(part: Path, config: Config, task: str, data: Any, seed: int, report: Report, key: str,
           stages: Stages) -> None:
    from transformers import AutoTokenizer

    from tasks import get_task

    adapter, device = get_task(task), device_of(config.execution)
    kind = judge_kind(config, data.gold is not None)

    def tokenize(_: Periodic) -> dict[str, Any]:
        report("tokenizer", 0.0)
        made = load_tokenizer(config.model) if config.model.path else train_tokenizer(
            tokenizer_texts(data.demonstrations, adapter.cue), config.model.vocabulary)
        made.save_pretrained(part / "tokenizer")
        return {}

    stages.run("tokenizer", ["tokenizer"], tokenize)
    tokenizer = AutoTokenizer.from_pretrained(part / "tokenizer", trust_remote_code=config.model.trust_remote_code)
    encoder = Encoder(tokenizer, adapter.cue, adapter.truncation, config.decoding)
    rows = Rows.of(data, encoder, config)
    context = part, encoder, rows, config, seed, device

    sft_info = stages.run("SFT", ["policy"], lambda saving: _sft(
        *context, lambda done: report("SFT", done), saving))
    reward_info = stages.run("reward model", ["reward"], lambda saving: _reward(
        *context, lambda done: report("reward model", done), saving))
    judge_info: dict[str, Any] = {"kind": kind}
    if kind == "reward_model":
        if not config.model.path:
            stages.run("judge language", ["stages/judge"], lambda saving: _judge_language(
                *context, lambda done: report("judge", done / 2), saving))
        judge_info |= stages.run("judge", ["judge"], lambda saving: _judge(
            *context, lambda done: report("judge", 0.5 + done / 2), saving))
    write_json(part / "data.json", {"prompts": rows.prompts, "pairs": rows.train_pairs})
    write_json(part / "preparation.json", {
        "task": task, "seed": seed, "key": key, "model": folder_name(config.model.path),
        "model_revision": revision_of(config.model), "task_version": data.version, "source": data.source,
        "revision": data.revision,
        "rows": {"read": data.rows.read, "used": data.rows.used, "rejected": dict(data.rows.rejected)},
        "prompts": {split: len(prompts) for split, prompts in rows.prompts.items()}, "pairs": len(rows.train_pairs),
        "long_prompts": rows.long, **sft_info, "judge": judge_info,
        "special_tokens": {"bos": tokenizer.bos_token_id, "eos": encoder.eos, "pad": encoder.pad}, **reward_info,
        "seconds": stages.spent,
    })
    report("evaluation of the start", 0.0)
    evaluate_start(part, config, task, seed)


def evaluate_start(folder: Path, config: Config, task: str, seed: int) -> None:
    """Evaluate π₀ on both splits and keep the result, from which every run's curve starts."""
    from benchmark.evaluation import Evaluator, save_baseline

    prepared, meter = Prepared(folder, config, task), Meter()
    policy = prepared.policy(meter, seed)
    reward = prepared.reward(meter, seed)
    evaluator = Evaluator(prepared, reward.state(), seed)
    save_baseline(folder / "baseline.json",
                  {split: evaluator.evaluate(policy, reward, split) for split in ("validation", "test")})


def _sft(part: Path, encoder: Encoder, rows: Rows, config: Config, seed: object, device: torch.device,
         report: Callable[[float], None], saving: Periodic) -> dict[str, float]:
    """Train π₀ and save it (adapters merged); return its size and its final loss in nats per token."""
    settings = config.sft
    if config.model.path:
        model = load_causal_lm(config.model.path, config.model, getattr(torch, config.model.dtype))
    else:
        model = tiny_llama(config.model, encoder.tokenizer, longest(config), seed)
    lora = settings.parameters == "lora" and config.adapter.rank > 0
    if lora:
        model = add_adapter(model, config.adapter, config.adapter.dropout, "sft", seed)
    policy = Policy(model.to(device), encoder, Meter(), config.execution.forward_batch)
    model.train()
    steps = step_count(settings, len(rows.demonstrations))
    loss = train_sft(policy, rows.demonstrations, steps, settings.batch, settings.lr, config.execution.backward_batch,
                     seed, report, saving)
    model.eval()
    model = model.merge_and_unload() if lora else model
    model.save_pretrained(part / "policy")
    return {"sft_loss": loss, "parameters": parameter_count(model)}


def longest(config: Config) -> int:
    """Positions of a tiny model (tokens)."""
    return config.decoding.max_prompt_tokens + config.decoding.max_new_tokens


def _reward(part: Path, encoder: Encoder, rows: Rows, config: Config, seed: object, device: torch.device,
            report: Callable[[float], None], saving: Periodic) -> dict[str, float]:
    """Train r₀ from π₀'s weights and save it (adapters merged); return its loss and accuracy on held-out pairs."""
    settings = config.reward_model
    model = load_scalar_model(part / "policy", config.model, getattr(torch, config.model.dtype), seed)
    lora = settings.parameters == "lora" and config.adapter.rank > 0
    if lora:
        model = add_adapter(model, config.adapter, config.adapter.dropout, "reward_model", seed)
        model.base_model.model.score.requires_grad_(True)
    reward = RewardModel(model.to(device), encoder, Meter(), config.execution.forward_batch)
    model.train()
    steps = step_count(settings, len(rows.train_pairs))
    loss = train_reward(reward, rows.train_pairs, rows.scored, steps, settings.batch, settings.lr,
                        settings.score_weight, config.execution.backward_batch, seed, report, saving)
    model.eval()
    info = {"reward_loss": loss, "reward_accuracy": accuracy(reward, rows.held_out_pairs),
            "held_out_pairs": len(rows.held_out_pairs)}
    (model.merge_and_unload() if lora else model).save_pretrained(part / "reward")
    return info


def _judge_language(part: Path, encoder: Encoder, rows: Rows, config: Config, seed: object, device: torch.device,
                    report: Callable[[float], None], saving: Periodic) -> dict[str, float]:
    """Train the wider Llama that the judge of tiny models starts from; return its final loss in nats per token."""
    model = tiny_llama(config.model, encoder.tokenizer, longest(config), ("judge", seed), config.judge.scale)
    policy = Policy(model.to(device), encoder, Meter(), config.execution.forward_batch)
    loss = train_sft(policy, rows.demonstrations, config.judge.steps, config.sft.batch, config.sft.lr,
                     config.execution.backward_batch, ("judge", seed), report, saving)
    model.save_pretrained(part / "stages" / "judge")
    return {"loss": loss}


def _judge(part: Path, encoder: Encoder, rows: Rows, config: Config, seed: object, device: torch.device,
           report: Callable[[float], None], saving: Periodic) -> dict[str, float]:
    """Train and save the judging reward model on all preference data, held-out pairs included.

    At tiny size it is a wider Llama of its own, trained on language first; with ``model.path`` it starts from π₀.
    """
    start = part / "policy" if config.model.path else part / "stages" / "judge"
    model = load_scalar_model(start, config.model, torch.float32, ("judge", seed)).to(device)
    judge = RewardModel(model, encoder, Meter(), config.execution.forward_batch)
    pairs = rows.train_pairs + rows.held_out_pairs
    loss = train_reward(judge, pairs, rows.scored, config.judge.steps, config.reward_model.batch,
                        config.reward_model.lr, config.reward_model.score_weight, config.execution.backward_batch,
                        ("judge", seed), report, saving)
    model.save_pretrained(part / "judge")
    return {"loss": loss, "accuracy_seen": accuracy(judge, rows.held_out_pairs)}
