"""The rows of a task as the models see them: too long prompts dropped or truncated, pairs and prompts by split."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.core.errors import DataError
from benchmark.lm.encoder import Encoder
from benchmark.lm.training import Pair, Scored
from benchmark.plan.resolve import Config
from tasks.examples import Prompt, TaskData, stable_number


@dataclass
class Rows:
    """The rows of a task, over-long prompts dealt with as the configuration says."""

    demonstrations: list[tuple[str, str]]
    train_pairs: list[Pair]
    held_out_pairs: list[Pair]
    scored: list[Scored]
    prompts: dict[str, list[Prompt]]
    long: int
    judge_pairs: list[Pair]  # none of them in ``train_pairs``; empty where the judge learns from all

    @staticmethod
    def of(data: TaskData, encoder: Encoder, config: Config) -> Rows:
        """Raises DataError if a split has no prompt, or training has no pair."""
        fits: dict[str, bool] = {}

        def keep(prompt: str) -> bool:
            if prompt not in fits:
                fits[prompt] = encoder.fits(prompt)
            return fits[prompt] or config.decoding.long_prompts == "truncate"

        def pairs(*splits: str) -> list[Pair]:
            return [(e.prompt, e.chosen, e.rejected) for s in splits for e in data.preferences[s] if keep(e.prompt)]

        rows = Rows(
            [(p, c) for p, c in data.demonstrations if keep(p)], pairs("train"), pairs("validation", "test"),
            [(e.prompt, e.completion, e.score) for e in data.scored.get("train", ()) if keep(e.prompt)],
            {split: [p for p in prompts if keep(p.text)] for split, prompts in data.prompts.items()}, 0, [],
        )
        if share := config.judge.own_pairs:
            own = {prompt for prompt in fits if stable_number("judge", prompt) / 2**64 < share}
            rows.judge_pairs = [pair for pair in rows.train_pairs if pair[0] in own]
            rows.train_pairs = [pair for pair in rows.train_pairs if pair[0] not in own]
            rows.scored = [row for row in rows.scored if row[0] not in own]
            if not rows.judge_pairs:
                raise DataError(f"{data.task} ({data.source}): judge.own_pairs = {share:g} leaves the judge no pair. "
                                f"Give more rows, or a larger share.")
        rows.long = sum(not ok for ok in fits.values())
        empty = [split for split, prompts in rows.prompts.items() if not prompts]
        if empty or not rows.train_pairs or not rows.held_out_pairs or not rows.demonstrations:
            what = f"no prompt in {', '.join(empty)}" if empty else "no preference pair or demonstration"
            raise DataError(
                f"{data.task} ({data.source}): {what} is left after reading {data.rows.read} rows "
                f"({rows.long} prompts over decoding.max_prompt_tokens = {config.decoding.max_prompt_tokens}, "
                f"long_prompts = {config.decoding.long_prompts}). Give more rows, or raise the limit.")
        return rows
