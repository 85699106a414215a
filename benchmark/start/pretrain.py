"""The base model of ``model.path = bundled``: a small language model of the bundled worlds' text, trained once.

Its text is generated from a seed that no task's rows come from, and holds no prompt of a held-out row (see
:func:`held_out_prompts`). What a preparation adds to it is the task itself: π₀ is fine-tuned on the task's own rows.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmark.core.files import sha256, share, write_json
from benchmark.core.meter import Meter
from benchmark.core.provenance import packages
from benchmark.core.sections import Adapter, Decoding, Model
from benchmark.core.seeding import ShuffledPasses
from benchmark.lm.encoder import Encoder
from benchmark.lm.loading import tiny_llama, tokenizer_texts, train_tokenizer
from benchmark.lm.policy import Policy
from benchmark.lm.trained import add_adapter
from benchmark.lm.training import RateSchedule, fit
from tasks import WORLDS, get_task
from tasks.adapter import prompt_key

PROVENANCE = "pretraining.json"
SHAPE = ("vocabulary", "hidden_size", "intermediate_size", "layers", "heads", "kv_heads")
ROWS_SEED = 0  # of the rows that tasks are read with: never that of the text here
HELD_OUT = 10  # times the default number of held-out rows: prompts of any of them are left out
Text = tuple[str, str]  # prompt body, completion


@dataclass(frozen=True)
class Recipe:
    """How the base model is made; the defaults are those of the one that comes with the suite."""

    seed: int = 1
    rows: int = 12_000  # generated per world
    steps: int = 1_500
    batch: int = 16  # texts of each world in a step
    lr: float = 3e-3  # peak, 10 % warm-up, cosine to zero
    model: Model = field(default_factory=lambda: Model(vocabulary=2048))  # its shape and its tokenizer's size
    positions: int = 256  # tokens of the longest text, special ones included


@functools.cache
def held_out_prompts(task: str) -> frozenset[str]:
    """What tells apart the prompts of the task's held-out rows: those that a profile reads, and many more."""
    adapter = get_task(task)
    count = HELD_OUT * (adapter.default_rows.held_out or 0)
    rows = [row for row in adapter.bundled_rows(1, count, ROWS_SEED) if row.split == "held_out"]
    return frozenset(prompt_key(adapter.parse(row, Counter()).prompt) for row in rows)


def texts_of(task: str, recipe: Recipe) -> list[Text]:
    """The task's demonstrations among rows generated from the recipe's seed, less those with a held-out prompt."""
    if recipe.seed == ROWS_SEED:
        raise ValueError(f"seed {ROWS_SEED} is that of the tasks' own rows")
    held_out = held_out_prompts(task)
    data = get_task(task).load("bundled", seed=recipe.seed, rows={"train": recipe.rows, "held_out": 40})
    return [(prompt, said) for prompt, said in data.demonstrations if prompt_key(prompt) not in held_out]


def pretrain(folder: Path, recipe: Recipe, report: Callable[[float], None]) -> dict[str, Any]:
    """Write tokenizer, model (float16) and provenance to ``folder``.

    Args:
        report: told the share done.

    Returns:
        What ``pretraining.json`` holds.

    Raises:
        RunError: the loss is not finite.
    """
    torch.set_num_threads(1)  # more can change the last bits
    texts = {task: texts_of(task, recipe) for task in WORLDS}
    tokenizer = train_tokenizer([text for task, rows in texts.items()
                                 for text in tokenizer_texts(rows, get_task(task).cue)], recipe.model.vocabulary)
    decoding = Decoding(max_prompt_tokens=recipe.positions // 2, max_new_tokens=recipe.positions // 2)
    encoders = {task: Encoder(tokenizer, get_task(task).cue, get_task(task).truncation, decoding) for task in WORLDS}
    model = tiny_llama(recipe.model, tokenizer, recipe.positions, ("base", recipe.seed))
    encoder = next(iter(encoders.values()))  # any: they pad alike
    policy = Policy(add_adapter(model, Adapter(kind="full")), encoder, Meter(), recipe.batch)
    orders = {task: ShuffledPasses(len(rows), "base", recipe.seed, task) for task, rows in texts.items()}

    def losses(step: int) -> Iterator[torch.Tensor]:
        """One micro-batch a world, so that texts of like length are padded together; nats per token."""
        for task, rows in texts.items():
            chosen = [rows[row] for row in orders[task].take(recipe.batch)]
            ids = [encoders[task].prompt(prompt) + encoders[task].completion(said) for prompt, said in chosen]
            sequences = encoder.pad_rows([row[:1] for row in ids], [row[1:] for row in ids], policy.device)
            tokens = sequences.completion_mask.sum()
            yield -policy.logprobs(sequences).sum() / tokens / len(texts)
        report((step + 1) / recipe.steps)

    model.train()
    loss = fit(list(policy.parameters.values()), RateSchedule(recipe.steps, recipe.lr), losses, "pre-training")
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    share([folder / "model.safetensors"], folder)
    said = {"recipe": described(recipe), "loss": loss, "texts": {task: len(rows) for task, rows in texts.items()},
            "parameters": sum(p.numel() for p in model.parameters()),
            "versions": {"tasks": {task: get_task(task).version for task in WORLDS}, "packages": packages()},
            "files": {path.name: sha256(path) for path in sorted(folder.iterdir())}}
    write_json(folder / PROVENANCE, said)
    return said


def described(recipe: Recipe) -> dict[str, Any]:
    """The recipe as the provenance has it."""
    return asdict(recipe) | {"model": {name: getattr(recipe.model, name) for name in SHAPE}}
