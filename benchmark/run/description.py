"""What a run says of itself beside its figures: where it was made, and a few of its completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmark.core import provenance
from benchmark.plan.run import Run
from benchmark.run.evaluation import Evaluation
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared


def sample_rows(who: Participants, final: Evaluation) -> Iterator[dict[str, Any]]:
    """Test completions beside π₀'s, for ``samples.jsonl``."""
    rows, base = who.evaluator.rows["test"], who.baseline["test"]
    for index in range(min(who.run.config.evaluation.samples, len(rows))):
        yield {"prompt": rows[index].text, "reference": rows[index].reference,
               "base": base.completions[index], "base_reward": base.rewards[index],
               "completion": final.completions[index], "reward": final.rewards[index]}


def environment(run: Run, prepared: Prepared) -> dict[str, Any]:
    """The content of ``environment.json``."""
    info, execution = prepared.info, run.config.execution
    found = provenance.environment(str(prepared.device), execution.threads, execution.workers)
    return found | {
        "data": {key: info[key] for key in ("source", "revision", "rows", "prompts", "pairs", "long_prompts")},
        "model": {"path": info["model"], "revision": info["model_revision"], "parameters": info["parameters"],
                  "special_tokens": info["special_tokens"]},
        "preparation": {key: info[key] for key in ("key", "sft_loss", "reward_loss", "reward_accuracy",
                                                   "held_out_pairs", "judge", "seconds")},
    }
