"""What a gold score means on a task: what can be had without reading the prompt, and what the task's answers get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from tasks.examples import Prompt

CANDIDATES = 200  # constant texts that are tried
PROMPTS = 64  # of the validation split, on which they are tried


def scale(gold: Callable[[str, str], float], demonstrations: Sequence[tuple[str, str]],
          prompts: dict[str, list[Prompt]]) -> dict[str, float]:
    """Mean gold of answers that no model is needed for: on the test prompts, but of demonstrations on their own.

    Args:
        gold: ``gold(prompt, completion)`` in [0, 1].
        demonstrations: prompts and completions of training rows.
        prompts: by split; those that evaluations use.

    Returns:
        ``constant``: the best of the first ``CANDIDATES`` different demonstrations by validation prompts, given to
        every prompt; ``copy``: the prompt itself; ``demonstrations``; ``references``.
    """
    tried, test = prompts["validation"][:PROMPTS], prompts["test"]
    candidates = list(dict.fromkeys(said for _, said in demonstrations))[:CANDIDATES]
    constant = max(candidates, key=lambda text: sum(gold(prompt.text, text) for prompt in tried))
    answers = {"constant": lambda prompt: constant, "copy": lambda prompt: prompt.text,
               "references": lambda prompt: prompt.reference}
    return {"demonstrations": fmean(gold(prompt, said) for prompt, said in demonstrations),
            **{name: fmean(gold(prompt.text, answer(prompt)) for prompt in test) for name, answer in answers.items()}}
