"""How much work a job is, in tokens through the policy, from its configuration alone: what time left and estimates are
shares of. Rough, within a factor of about two."""

from __future__ import annotations

from benchmark.grid.jobs import Job, Preparation
from benchmark.lm.training import step_count
from benchmark.plan.resolve import Config

FILL = 0.5  # typical length of a sequence as a share of the limits
PASSES = 5  # forward equivalents of an update per sequence (generation, reference, reward, forward, backward)
ROWS, PROMPTS = 2000, 100  # where a configuration says "all"
PER_SECOND = 20_000  # tokens of a budget of seconds


def sequence(config: Config) -> float:
    """Tokens of a prompt and its completion."""
    return FILL * (config.decoding.max_prompt_tokens + config.decoding.max_new_tokens)


def optimisation(config: Config) -> float:
    """Of a run; its budget must not be one of seconds."""
    each = {"forward_tokens": 1.0, "completions": sequence(config) * PASSES,
            "updates": config.loop.sequences_per_update * sequence(config) * PASSES}
    return config.budget.limit * each[config.budget.kind]


def beside(config: Config, validated: int, tested: int) -> float:
    """Evaluation and refinement of a run.

    Args:
        validated, tested: prompts of an evaluation on the validation split, and of that on the test split.
    """
    evaluation, loop = config.evaluation, config.loop
    evaluated = evaluation.points * validated * evaluation.validation_completions + tested * evaluation.test_completions
    refined = loop.iterations * loop.refine_pairs * 2 * (1 + 3 * loop.refine_epochs)
    return (evaluated * 4 + refined) * sequence(config)


def preparation(config: Config, demonstrations: int, pairs: int) -> float:
    """SFT and training of the reward model on so many rows, and of a judge."""
    sft, reward = config.sft, config.reward_model
    sequences = step_count(sft, demonstrations) * sft.batch + step_count(reward, pairs) * reward.batch * 2
    return 3 / 2 * sequences * sequence(config)


def work(job: Job) -> float:
    """Of a job that has not begun."""
    if isinstance(job, Preparation):
        rows = job.config.data.train_rows or ROWS
        return preparation(job.config, rows, rows)
    config = job.run.config
    other = beside(config, config.evaluation.validation_prompts or PROMPTS, config.evaluation.test_prompts or PROMPTS)
    if config.budget.kind == "seconds":
        return config.budget.limit * PER_SECOND + other
    return optimisation(config) + other
