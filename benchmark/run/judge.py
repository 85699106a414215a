"""Judges: who labels fresh pairs for the refinement of the reward model, and decides the win rate against π₀."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from benchmark.lm.encoder import Encoder
from benchmark.lm.reward import RewardModel
from benchmark.lm.sequences import chunks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAIRWISE_PROMPT = """I require a leaderboard for various large language models. Below is an input given to two models, \
and their outputs. Decide which output is better for a human reader.

Input ({prompt_role}):
{prompt}

Output 0 ({completion_role}):
{first}

Output 1 ({completion_role}):
{second}

Answer with the number of the better output only, 0 or 1.
Answer: """


class Judge(Protocol):
    """Compares completions of the same prompts."""

    name: str

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[float]:
        """P(first is better) of each row, in [0, 1]; 0.5 = a tie."""


class GoldJudge:
    """The bundled task's own quality score of a text, in [0, 1]."""

    name = "gold"

    def __init__(self, gold: Callable[[str, str], float]):
        self.score = gold

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[float]:
        pairs = [(self.score(p, a), self.score(p, b)) for p, a, b in zip(prompts, first, second, strict=True)]
        return [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in pairs]


class RewardModelJudge:
    """A larger reward model, trained on all preference data of the task."""

    name = "reward_model"

    def __init__(self, model: RewardModel):
        self.model = model

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[float]:
        def scores(texts: Sequence[str]) -> torch.Tensor:
            rows = list(zip(prompts, texts, strict=True))
            return self.model.score_chunked(self.model.encoder.rows(rows, self.model.device))

        a, b = scores(first), scores(second)
        return ((a > b).float() + 0.5 * (a == b).float()).tolist()


class LLMJudge:
    """A language model asked which of two outputs is better.

    P(first better) comes from its next-token probabilities of "0" and "1", averaged over both orders of the outputs,
    so that neither sampling nor a preference for a position enters (the released code samples one token, in one
    random order, and drops rows with another answer: VisZOPrO @ f7c3401, dataset_utils.py:132-164).
    """

    name = "llm"

    def __init__(self, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompt_role: str,
                 completion_role: str, batch: int):
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch
        self.roles = {"prompt_role": prompt_role, "completion_role": completion_role}
        self.answers = [tokenizer(digit, add_special_tokens=False)["input_ids"][-1] for digit in "01"]

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[float]:
        forward = self._first_better(prompts, first, second)
        backward = self._first_better(prompts, second, first)
        return ((forward + 1 - backward) / 2).tolist()

    @torch.no_grad()
    def _first_better(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> torch.Tensor:
        questions = [PAIRWISE_PROMPT.format(prompt=p, first=a, second=b, **self.roles)
                     for p, a, b in zip(prompts, first, second, strict=True)]
        template = self.tokenizer.chat_template is not None
        if template:
            questions = [str(self.tokenizer.apply_chat_template([{"role": "user", "content": q}], tokenize=False,
                                                                add_generation_prompt=True)) for q in questions]
        encoded = [self.tokenizer(q, add_special_tokens=not template)["input_ids"] for q in questions]
        device, pad = next(self.model.parameters()).device, Encoder.padding_id(self.tokenizer)
        parts = []
        for rows in chunks(len(encoded), self.batch):
            part = encoded[rows]
            width = max(map(len, part))
            ids = torch.tensor([[pad] * (width - len(row)) + row for row in part], device=device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part], device=device)
            logits = self.model(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits[:, -1, self.answers]
            parts.append(logits.float().softmax(1)[:, 0].cpu())
        return torch.cat(parts)
