"""What a run says of itself beside its figures: where it was made, and a few of its completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmark.core import provenance
from benchmark.core.records import DataUsed, Environment, JudgeUsed, ModelUsed, Sample, SharedStart
from benchmark.plan.run import Run
from benchmark.run.evaluation import Evaluation
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared


def sample_rows(who: Participants, final: Evaluation) -> Iterator[dict[str, Any]]:
    """Test completions beside π₀'s, for ``samples.jsonl``."""
    rows, base = who.evaluator.rows["test"], who.baseline["test"]
    for index in range(min(who.run.config.evaluation.samples, len(rows))):
        yield Sample(prompt=rows[index].text, reference=rows[index].reference, base=base.completions[index],
                     base_reward=base.rewards[index], completion=final.completions[index],
                     reward=final.rewards[index]).as_row()


def environment(run: Run, prepared: Prepared) -> dict[str, Any]:
    """The content of ``environment.json``."""
    info, execution = prepared.info, run.config.execution
    machine = provenance.machine(str(prepared.device), execution.threads, execution.workers)
    return Environment(
        **vars(machine), data=DataUsed.of(info),
        model=ModelUsed.of(info | {"path": info["model"], "revision": info["model_revision"]}),
        preparation=SharedStart.of(info | {"judge": JudgeUsed(**info["judge"])})).as_row()
