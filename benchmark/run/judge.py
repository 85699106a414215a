"""Judges: who labels fresh pairs for the refinement of the reward model, and decides the win rate against π₀."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from benchmark.core.errors import ConfigError, ModelError
from benchmark.core.naming import load
from benchmark.core.sections import JUDGES, Decoding, JudgeSettings
from benchmark.lm.adapted import positions
from benchmark.lm.reward import RewardModel
from benchmark.lm.sequences import chunks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.adapter import TaskAdapter

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

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[float]:
        """P(first is better) of each row, in [0, 1]; 0.5 = a tie. With the two exchanged it is 1 minus that."""


def outside_judge(kind: str) -> Callable[[JudgeSettings, TaskAdapter, torch.device], Judge]:
    """The class of a plugin's judge; it is made of the section ``judge``, the task's adapter and a device.

    Raises:
        ConfigError: there is no such class, or it cannot judge.
    """
    try:
        found = load(JUDGES[kind])
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"judge.kind = {kind}: {JUDGES[kind]} cannot be imported ({error}). Repair "
                          f"the plugin.") from error
    if not callable(getattr(found, "prefer", None)):
        raise ConfigError(f"judge.kind = {kind}: {JUDGES[kind]} has no method prefer(prompts, first, second) "
                          f"(docs/plugins.md).")
    return found


class GoldJudge:
    """The bundled task's own quality score of a text, in [0, 1]."""

    def __init__(self, gold: Callable[[str, str], float]):
        self.score = gold

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[float]:
        pairs = [(self.score(p, a), self.score(p, b)) for p, a, b in zip(prompts, first, second, strict=True)]
        return [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in pairs]


class RewardModelJudge:
    """A larger reward model, trained on all preference data of the task."""

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

    Raises:
        ModelError: "0" and "1" after the question are not one token each.
    """

    def __init__(self, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompt_role: str,
                 completion_role: str, batch: int):
        self.model, self.tokenizer, self.batch = model.eval(), tokenizer, batch
        self.roles = {"prompt_role": prompt_role, "completion_role": completion_role}
        asked = self._question("?", "?", "?")
        zero, one = (self._ids(asked + digit) for digit in "01")
        self.answers = [zero[-1], one[-1]]
        if zero[:-1] != one[:-1] or zero[-1] == one[-1] or tokenizer.unk_token_id in self.answers:
            raise ModelError("judge.path: its tokenizer has no token for each of the digits 0 and 1 at the end of the "
                             "judge's question. Pass another judge, or --set judge.kind=reward_model.")

    def prefer(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[float]:
        forward = self._first_better(prompts, first, second)
        backward = self._first_better(prompts, second, first)
        return ((forward + 1 - backward) / 2).tolist()

    @staticmethod
    def longest(tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> int:
        """Tokens of a question with a prompt and two completions as long as the limits allow; more where the policy's
        tokens are shorter than this tokenizer's."""
        frame = len(tokenizer(PAIRWISE_PROMPT)["input_ids"])
        return frame + decoding.max_prompt_tokens + 2 * decoding.max_new_tokens

    def _question(self, prompt: str, first: str, second: str) -> str:
        asked = PAIRWISE_PROMPT.format(prompt=prompt, first=first, second=second, **self.roles)
        if self.tokenizer.chat_template is None:
            return asked
        return str(self.tokenizer.apply_chat_template([{"role": "user", "content": asked}], tokenize=False,
                                                      add_generation_prompt=True))

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=self.tokenizer.chat_template is None)["input_ids"])

    @torch.no_grad()
    def _first_better(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> torch.Tensor:
        # The question as it stands before its answer: where a token holds a space and a digit, its end is in the answer
        encoded = [self._ids(self._question(*row) + "0")[:-1] for row in zip(prompts, first, second, strict=True)]
        device = next(self.model.parameters()).device
        parts = []
        for rows in chunks(len(encoded), self.batch):
            part = encoded[rows]
            width = max(map(len, part))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in part], device=device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part], device=device)
            logits = self.model(input_ids=ids, attention_mask=mask, position_ids=positions(mask),
                                logits_to_keep=1).logits[:, -1, self.answers]
            parts.append(logits.float().softmax(1)[:, 0].cpu())
        return torch.cat(parts)
