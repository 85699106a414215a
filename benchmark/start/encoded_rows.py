"""The rows of a task as the models see them: too long prompts dropped or truncated, pairs that became equal left out,
pairs and prompts by split."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmark.core.errors import DataError
from benchmark.lm.encoder import Encoder
from benchmark.lm.sequences import chunks
from benchmark.lm.training import Pair, Scored
from benchmark.plan.resolve import Config
from tasks.examples import Prompt, TaskData, stable_number

AT_ONCE = 1000  # pairs whose tokens are held in memory


@dataclass
class Rows:
    """The rows of a task, over-long prompts dealt with as the configuration says.

    Attributes:
        long: prompts over the limit.
        equal: split → pairs left out because their completions are the same tokens once they are cut.
    """

    demonstrations: list[tuple[str, str]]
    train_pairs: list[Pair]
    held_out_pairs: list[Pair]
    scored: list[Scored]
    prompts: dict[str, list[Prompt]]
    long: int = 0
    equal: dict[str, int] = field(default_factory=dict)
    judge_pairs: list[Pair] = field(default_factory=list)  # none in ``train_pairs``; empty: the judge learns from all

    @staticmethod
    def of(data: TaskData, encoder: Encoder, config: Config) -> Rows:
        """Raises DataError if a split has no prompt, or training or the held-out splits have no pair."""
        fits: dict[str, bool] = {}
        equal: dict[str, int] = {}

        def keep(prompt: str) -> bool:
            if prompt not in fits:
                fits[prompt] = encoder.fits(prompt)
            return fits[prompt] or config.decoding.long_prompts == "truncate"

        def pairs(*splits: str) -> list[Pair]:
            found = []
            for split in splits:
                kept = [e for e in data.preferences[split] if keep(e.prompt)]
                for part in (kept[piece] for piece in chunks(len(kept), AT_ONCE)):
                    alike = encoder.alike([e.chosen for e in part], [e.rejected for e in part])
                    found += [(e.prompt, e.chosen, e.rejected) for e, same in zip(part, alike, strict=True) if not same]
                    if any(alike):
                        equal[split] = equal.get(split, 0) + sum(alike)
            return found

        rows = Rows(
            [(p, c) for p, c in data.demonstrations if keep(p)], pairs("train"), pairs("validation", "test"),
            [(e.prompt, e.completion, e.score) for e in data.scored.get("train", ()) if keep(e.prompt)],
            {split: [p for p in prompts if keep(p.text)] for split, prompts in data.prompts.items()},
            equal=equal,
        )
        rows.long = sum(not ok for ok in fits.values())
        if equal and not (rows.train_pairs and rows.held_out_pairs):
            raise DataError(f"{data.task} ({data.source}): {rows.equal_words(config)}. None is left "
                            f"{'to hold out' if rows.train_pairs else 'to train on'}. Raise --set max_new_tokens, or "
                            f"give pairs that differ earlier.")
        empty = [split for split, prompts in rows.prompts.items() if not prompts]
        if empty or not rows.train_pairs or not rows.held_out_pairs or not rows.demonstrations:
            what = f"no prompt in {', '.join(empty)}" if empty else "no preference pair or demonstration"
            raise DataError(
                f"{data.task} ({data.source}): {what} is left after reading {data.rows.read} rows "
                f"({rows.long} prompts over decoding.max_prompt_tokens = {config.decoding.max_prompt_tokens}, "
                f"long_prompts = {config.decoding.long_prompts}). Give more rows, or raise the limit.")
        if share := config.judge.own_pairs:
            own = {prompt for prompt in fits if stable_number("judge", prompt) / 2**64 < share}
            rows.judge_pairs = [pair for pair in rows.train_pairs if pair[0] in own]
            rows.train_pairs = [pair for pair in rows.train_pairs if pair[0] not in own]
            rows.scored = [row for row in rows.scored if row[0] not in own]
            if not (rows.judge_pairs and rows.train_pairs):
                raise DataError(f"{data.task} ({data.source}): judge.own_pairs = {share:g} leaves "
                                f"{'r0' if rows.judge_pairs else 'the judge'} no pair. Give more rows, or another "
                                f"share.")
        return rows

    def equal_words(self, config: Config) -> str:
        """What a reader must know of the pairs that are left out; empty if there are none."""
        counts = " and ".join(f"{count} of the {split} split" for split, count in self.equal.items())
        return counts and (f"pairs left out: {counts} have equal completions within decoding.max_new_tokens = "
                           f"{config.decoding.max_new_tokens} tokens")
