"""What all methods of a (task, model, seed) share: tokenizer, π₀ by SFT, reward model r₀, judge, prompts and pairs.

Built once, kept in a cache folder that is named by a hash of everything that can change its content, and renamed into
place only when whole. Until then finished stages and checkpoints lie in a folder beside it, for the next attempt.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmark.core.checkpoint import Periodic
from benchmark.core.digests import PREPARING, code_digest
from benchmark.core.errors import DataError
from benchmark.core.files import write_json
from benchmark.core.locks import locked
from benchmark.core.meter import Meter
from benchmark.core.paths import folder_name
from benchmark.core.sections import RewardTraining
from benchmark.lm.encoder import Encoder
from benchmark.lm.head import fit_head
from benchmark.lm.loading import (
    device_of,
    load_causal_lm,
    load_scalar_model,
    load_tokenizer,
    revision_of,
    tiny_llama,
    tokenizer_texts,
    train_tokenizer,
)
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.trained import add_lora
from benchmark.lm.training import Pair, Scored, accuracy, reward_cost, seen_once, train_reward, train_sft
from benchmark.plan.resolve import Config
from benchmark.plan.sources import adapter_of
from benchmark.run.evaluation import Evaluator, evaluated, save_starts
from benchmark.run.prepared import Prepared, PreparedData, other_code, parameter_count, read_encoder
from benchmark.start.encoded_rows import Rows
from benchmark.start.gold import scale
from benchmark.start.stages import Figures, Stages
from tasks.examples import TaskData

Report = Callable[[dict[str, Any]], None]
Wrapper = TypeVar("Wrapper", Policy, RewardModel)


def judge_kind(config: Config, has_gold: bool) -> str:
    """Resolve ``judge.kind = auto``; DataError if the gold score is asked for where there is none."""
    if config.judge.kind == "auto":
        return "gold" if has_gold else "reward_model"
    if config.judge.kind == "gold" and not has_gold:
        raise DataError("judge.kind = gold, but only the bundled rows have a gold score. "
                        "Use --set judge.kind=reward_model or judge.kind=llm.")
    return config.judge.kind


def save_merged(wrapper: RewardModel, folder: Path) -> None:
    model: Any = wrapper.model
    (model.merge_and_unload() if hasattr(model, "peft_config") else model).save_pretrained(folder)


def prepare(folder: Path, config: Config, task: str, data: TaskData, seed: int, report: Report, renew: bool = False
            ) -> Prepared:
    """Build the preparation in ``folder``, unless it is there; what an interrupted attempt got done is kept.

    Args:
        renew: one that other code made is made again, and replaced when that is whole.
        report: told as ``{"stage", "share"}`` what is being done and how much of it is, as ``{"note"}`` what of an
            earlier attempt is taken up or damaged.

    Raises:
        BenchmarkError: the model cannot be loaded, too few rows, or a loss that is not finite.
    """
    part = folder.with_name(f"{folder.name}.part")
    with locked(folder, float("inf"), lambda: report({"stage": "waiting for another command", "share": 0.0})):
        if (folder / "preparation.json").is_file() and not (renew and other_code(folder)):
            return Prepared(folder, config, task)
        try:
            building = Building(part, config, task, data, seed, report)
            building.build(folder.name.rsplit("__", 1)[-1])
        except DataError:  # its rows will not do, now or later; what else may fail can pass, and finished stages stay
            shutil.rmtree(part, ignore_errors=True)
            raise
        building.stages.finish(folder)
    return Prepared(folder, config, task)


@dataclass
class Building:
    """A preparation that is being built in ``folder``: its stages in their order, and what they share.

    A stage is given a place for the checkpoints of its training, writes a folder, and returns figures.
    """

    folder: Path
    config: Config
    task: str
    data: TaskData
    seed: int
    report: Report
    encoder: Encoder = field(init=False)  # of the tokenizer stage
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self.adapter, self.device = adapter_of(self.config, self.task), device_of(self.config.execution)
        self.stages = Stages(self.folder, self.config.execution.checkpoint_seconds, self.report)

    def build(self, key: str) -> None:
        """Do what is not done yet, and write down what all of it came to."""
        kind, run, data = judge_kind(self.config, self.data.gold is not None), self.stages.run, self.data
        run("tokenizer", ["tokenizer"], self.make_tokenizer)
        self.encoder = read_encoder(self.folder, self.config, self.adapter)
        self.rows = Rows.of(data, self.encoder, self.config)
        if left_out := self.rows.equal_words(self.config):
            self.stages.note(left_out)
        sft = run("SFT", ["policy"], self.train_policy)
        reward = run("reward model", ["reward"], self.train_reward_model)
        judge: Figures = {"kind": kind}
        if kind == "reward_model":
            if self.config.model.tiny:
                run("judge language", ["stages/judge"], self.train_judge_language)
            judge |= run("judge", ["judge"], self.train_judge)
        prompts, pairs = self.rows.prompts, self.rows.train_pairs
        write_json(self.folder / "data.json", asdict(PreparedData(prompts, pairs)))
        write_json(self.folder / "preparation.json", {
            "task": self.task, "seed": self.seed, "key": key, "code": code_digest(PREPARING),
            "model": folder_name(self.config.model.path),
            "model_revision": revision_of(self.config.model), "task_version": data.version, "source": data.source,
            "revision": data.revision,
            "rows": {"read": data.rows.read, "used": data.rows.used, "rejected": dict(data.rows.rejected)},
            "prompts": {split: len(rows) for split, rows in prompts.items()}, "pairs": len(pairs),
            "long_prompts": self.rows.long, "equal_pairs": self.rows.equal or None, **sft, "judge": judge,
            "special_tokens": {"bos": self.encoder.tokenizer.bos_token_id, "eos": self.encoder.eos,
                               "pad": self.encoder.pad},
            **reward, "gold_scale": self.gold_scale(), "seconds": self.stages.spent,
        })
        self.report({"stage": "evaluation of the start", "share": 0.0})
        self.evaluate_start()

    def make_tokenizer(self, _: Periodic) -> Figures:
        model = self.config.model
        made = load_tokenizer(model) if model.path else train_tokenizer(
            tokenizer_texts(self.data.demonstrations, self.adapter.cue), model.vocabulary)
        made.save_pretrained(self.folder / "tokenizer")
        return {}

    def train_policy(self, saving: Periodic) -> Figures:
        """π₀, adapters merged; its size and its final loss in nats per token."""
        config, settings = self.config, self.config.sft
        model = (load_causal_lm(config.model.path, config.model, self.dtype) if config.model.path
                 else self.tiny_llama(self.seed))
        lora = settings.parameters == "lora" and config.adapter.rank > 0
        if lora:
            model = add_lora(model, config.adapter, config.adapter.dropout, "sft", self.seed)
        policy = self.wrapped(Policy, model)  # in evaluation mode
        model.train()
        loss = train_sft(policy, self.rows.demonstrations, settings, self.micro_batch, self.seed, saving)
        model.eval()
        model = model.merge_and_unload() if lora else model
        model.save_pretrained(self.folder / "policy")
        return {"sft_loss": loss, "parameters": parameter_count(model)}

    def train_reward_model(self, saving: Periodic) -> Figures:
        """r₀ from π₀'s weights, adapters merged; its loss, and its accuracy on held-out pairs."""
        config, settings, rows = self.config, self.config.reward_model, self.rows
        model = load_scalar_model(self.folder / "policy", config.model, self.dtype, self.seed)
        reward, loss = self.trained_reward(model, rows.train_pairs, rows.scored, settings, "reward_model", self.seed,
                                           saving)
        tokens, labels = reward_cost(reward, rows.train_pairs, rows.scored, settings, self.seed)
        info = {"reward_loss": loss, "reward_accuracy": accuracy(reward, rows.held_out_pairs),
                "held_out_pairs": len(rows.held_out_pairs), "reward_tokens": tokens, "reward_labels": labels}
        save_merged(reward, self.folder / "reward")
        return info

    def trained_reward(self, model: Any, pairs: list[Pair], scored: list[Scored], settings: RewardTraining, name: str,
                       seed: object, saving: Periodic) -> tuple[RewardModel, float]:
        """A reward model from ``model``, adapters not merged yet, and its final loss."""
        if settings.parameters == "lora" and self.config.adapter.rank > 0:
            model = add_lora(model, self.config.adapter, self.config.adapter.dropout, name, seed)
        elif settings.parameters == "head":
            model.requires_grad_(False).score.requires_grad_(True)
        reward = self.wrapped(RewardModel, model)  # in evaluation mode
        if settings.parameters == "head":
            return reward, fit_head(reward, *seen_once(pairs, scored, settings, seed), settings)
        model.train()
        loss = train_reward(reward, pairs, scored, settings, self.micro_batch, seed, saving)
        model.eval()
        return reward, loss

    def train_judge_language(self, saving: Periodic) -> Figures:
        """The wider Llama that the judge of tiny models starts from; its final loss in nats per token."""
        settings, seed = replace(self.config.sft, steps=self.config.judge.steps, epochs=0.0), ("judge", self.seed)
        model = self.tiny_llama(seed, self.config.judge.scale)
        loss = train_sft(self.wrapped(Policy, model), self.rows.demonstrations, settings, self.micro_batch, seed,
                         saving)
        model.save_pretrained(self.folder / "stages" / "judge")
        return {"loss": loss}

    def train_judge(self, saving: Periodic) -> Figures:
        """The judging reward model, on pairs of its own or else on all preference data, held-out pairs included.

        At tiny size it is a wider Llama of its own, trained on language first; any other model's starts from π₀.
        """
        config, rows, seed = self.config, self.rows, ("judge", self.seed)
        settings = replace(config.reward_model, steps=config.judge.steps, epochs=0.0,
                           parameters=config.judge.parameters)
        start = self.folder / "stages" / "judge" if config.model.tiny else self.folder / "policy"
        model = load_scalar_model(start, config.model, torch.float32, seed)
        own = rows.judge_pairs
        judge, loss = self.trained_reward(model, own or rows.train_pairs + rows.held_out_pairs,
                                          [] if own else rows.scored, settings, "judge", seed, saving)
        found = accuracy(judge, rows.held_out_pairs)
        save_merged(judge, self.folder / "judge")
        return {"loss": loss, **({"accuracy": found, "own_pairs": len(own)} if own else {"accuracy_seen": found})}

    def gold_scale(self) -> dict[str, float] | None:
        """See :func:`benchmark.start.gold.scale`; None where the task has no gold score."""
        if self.data.gold is None:
            return None
        prompts = evaluated(self.rows.prompts, self.config.evaluation)
        return scale(self.data.gold, self.rows.demonstrations, prompts)

    def evaluate_start(self) -> None:
        """Sample and score π₀'s completions of both splits, which every run is measured on and starts from."""
        prepared, meter = Prepared(self.folder, self.config, self.task), Meter()
        policy = prepared.policy(meter, self.seed)
        reward = prepared.reward(meter, self.seed)
        evaluator = Evaluator(prepared, reward.state(), self.seed)
        save_starts(self.folder / "baseline.json",
                    {split: evaluator.start(policy, reward, split) for split in ("validation", "test")})

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.config.model.dtype)

    @property
    def micro_batch(self) -> int:
        return self.config.execution.backward_batch

    def tiny_llama(self, seed: object, scale: float = 1.0) -> Any:
        """As many positions as a prompt and a completion may have tokens."""
        longest = self.config.decoding.max_prompt_tokens + self.config.decoding.max_new_tokens
        return tiny_llama(self.config.model, self.encoder.tokenizer, longest, seed, scale)

    def wrapped(self, kind: type[Wrapper], model: Any) -> Wrapper:
        return kind(model.to(self.device), self.encoder, Meter(), self.config.execution.forward_batch)
