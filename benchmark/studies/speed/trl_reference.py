"""What people would use instead: TRL's trainers on the same shapes, with settings that favour neither side.

The same Llama with the same adapter, batches of the same size and lengths, a reward model of the same shape, AdamW,
temperature 1, one pass over each batch, no activation checkpointing, no mixed precision, no logging, saving or
evaluation. A step is timed from the end of the one before to its own end, so TRL's data loading is in it as ours is.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from statistics import median
from typing import Any

import torch
from peft import LoraConfig
from transformers import TrainerCallback

from baselines.registry import get_method
from benchmark.lm.loading import device_of
from benchmark.lm.trained import linear_modules
from benchmark.studies.speed.plan import Figure
from benchmark.studies.speed.world import BOS, END, bodies, llama, made_up_pairs, word_tokenizer


class StepTimes(TrainerCallback):
    """Seconds from the end of one step to the end of the next."""

    def __init__(self, device: torch.device):
        self._device, self._ends = device, [time.perf_counter()]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self._ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        return [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]


def make_trainer(figure: Figure, folder: str) -> Any:
    """The trainer, ready to make ``warmup + timed`` steps."""
    import trl
    from datasets import Dataset
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    config, name, steps = figure.config, figure.name, figure.warmup + figure.timed
    device, sequences = device_of(config.execution), config.loop.sequences_per_update
    micro = min(sequences, config.execution.backward_batch)
    model: Any = llama(config, "policy", device)
    lora = LoraConfig(r=config.adapter.rank, lora_alpha=config.adapter.alpha, lora_dropout=0.0,
                      target_modules=linear_modules(model))
    pairs = name == "trl-dpo"
    # Offline DPO appends an EOS, which must be one that the model knows; where it samples, none must come up.
    tokenizer = word_tokenizer(config.model.vocabulary, *([END] if pairs else []))
    texts, length = bodies(config, sequences * steps), config.decoding.max_new_tokens
    prompts = [f"{BOS} {text} " for text in texts]
    common: dict[str, Any] = {
        "max_steps": steps, "gradient_accumulation_steps": sequences // micro, "use_cpu": device.type == "cpu",
        "bf16": False, "activation_checkpointing": False, "disable_tqdm": True, "report_to": [],
        "logging_strategy": "no", "save_strategy": "no", "dataloader_pin_memory": False, "learning_rate": 5e-5,
    }
    options: dict[str, Any] = {"peft_config": lora, "processing_class": tokenizer}
    if pairs:
        rows = made_up_pairs(config, texts[: sequences * steps // 2], length - 1)
        data = Dataset.from_list([{"prompt": f"{BOS} {p} ", "chosen": c, "rejected": r} for p, c, r in rows])
        arguments = trl.DPOConfig(folder, **common, per_device_train_batch_size=micro // 2, max_length=None)
        return trl.DPOTrainer(model, args=arguments, train_dataset=data, **options)
    data = Dataset.from_list([{"prompt": prompt} for prompt in prompts])
    reward = llama(config, "reward", device, scalar=True).requires_grad_(False)
    options |= {"train_dataset": data, "reward_funcs": reward, "reward_processing_classes": tokenizer}
    if name == "trl-rloo":
        return trl.RLOOTrainer(model, **options, args=trl.RLOOConfig(
            folder, **common, per_device_train_batch_size=micro, max_completion_length=length, temperature=1.0,
            num_generations=get_method("rloo").resolved(config.methods)["k"], num_iterations=1))
    return OnlineDPOTrainer(model, **options, args=OnlineDPOConfig(
        folder, **common, per_device_train_batch_size=micro // 2, max_new_tokens=length,
        max_length=config.decoding.max_prompt_tokens + length, temperature=1.0))


def time_peer(figure: Figure) -> dict[str, Any]:
    """Seconds of TRL's steps, medians over the timed ones."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    times = StepTimes(device_of(figure.config.execution))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = make_trainer(figure, folder)
        trainer.add_callback(times)
        trainer.train()
    each = times.seconds[figure.warmup :]
    return {"seconds": median(each), "each": each}
