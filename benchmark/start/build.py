"""What all methods of a (task, model, seed) share: tokenizer, π₀ by SFT, reward model r₀, judge, prompts and pairs.

Built once, kept in a cache folder that is named by a hash of everything that can change its content, and renamed into
place only when whole. Until then finished stages and checkpoints lie in a folder beside it, for the next attempt.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.core.checkpoint import Periodic
from benchmark.core.errors import DataError
from benchmark.core.files import write_json
from benchmark.core.locks import locked
from benchmark.core.meter import Meter
from benchmark.core.paths import folder_name
from benchmark.lm.encoder import Encoder
from benchmark.lm.loading import (
    device_of,
    empty_model,
    load_causal_lm,
    load_model_config,
    load_scalar_model,
    load_tokenizer,
    revision_of,
    tiny_llama,
    tokenizer_texts,
    train_tokenizer,
)
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.trained import add_adapter, add_lora
from benchmark.lm.training import accuracy, step_count, train_reward, train_sft
from benchmark.plan.resolve import Config
from benchmark.run.prepared import Prepared, judge_model, parameter_count
from benchmark.start.encoded_rows import Rows
from benchmark.start.stages import Stages

if TYPE_CHECKING:
    pass

Report = Callable[[str, float], None]










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
    from benchmark.run.evaluation import Evaluator, save_baseline

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
        model = add_lora(model, config.adapter, config.adapter.dropout, "sft", seed)
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
        model = add_lora(model, config.adapter, config.adapter.dropout, "reward_model", seed)
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


def check_model(config: Config) -> None:
    """Fail early, before anything is trained, if the model or the judging language model cannot be found, or if there
    is nothing in policy and reward model of what is to be trained.

    Raises:
        ModelError: names the model and the remedy.
        ConfigError: names what could be trained.
    """
    if (config.adapter.kind, config.adapter.only) == ("lora", ""):
        load_model_config(config.model)
    else:
        for scalar in (False, True):
            add_adapter(empty_model(config.model, scalar), config.adapter)
    if config.judge.kind == "llm":
        load_model_config(judge_model(config))
