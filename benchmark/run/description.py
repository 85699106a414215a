"""What a run says of itself beside its figures: where it was made, and a few of its completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmark.core import provenance, statistics
from benchmark.core.records import DataUsed, Environment, JudgeUsed, ModelUsed, Sample, SharedStart
from benchmark.plan.run import PLUGINS, Run
from benchmark.run.evaluation import load_starts
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared


def sample_rows(who: Participants) -> Iterator[dict[str, Any]]:
    """Test completions beside π₀'s, for ``samples.jsonl``."""
    evaluation, base = who.run.config.evaluation, who.starts["test"]
    examples = who.evaluator.examples(who.policy, who.reward, evaluation.samples)
    for index, (row, (completion, reward)) in enumerate(zip(who.evaluator.rows["test"], examples, strict=False)):
        first = index * evaluation.test_completions
        yield Sample(prompt=row.text, reference=row.reference, base=base.texts[first],
                     base_reward=base.values["reward"][first], completion=completion, reward=reward).as_row()


def environment(run: Run, prepared: Prepared) -> dict[str, Any]:
    """The content of ``environment.json``."""
    info, execution = prepared.info, run.config.execution
    rewards = load_starts(prepared.folder / "baseline.json")["test"].values["reward"]
    machine = provenance.machine(str(prepared.device), execution.threads, execution.workers)
    return Environment(
        **vars(machine), data=DataUsed.of({"equal_pairs": None} | info), plugins=run.versions.get(PLUGINS),
        model=ModelUsed.of(info | {"path": info["model"], "revision": info["model_revision"]}),
        preparation=SharedStart.of({"code": None} | info | {
            "judge": JudgeUsed(**info["judge"]), "reward_sd": statistics.sd(rewards)})).as_row()
