"""What a grid will cost, before it runs: the text of ``run --dry-run``."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from benchmark.grid import work
from benchmark.grid.display import duration
from benchmark.lm.loading import empty_model
from benchmark.lm.trained import add_adapter
from benchmark.plan.resolve import Config
from benchmark.plan.run import Run
from benchmark.plan.sources import TaskSource
from benchmark.run.store import RunStore

# Share of a large matrix product's speed that a run reaches, roughly, with its generation token by token; supervised
# training reaches about twice that. Measured at 1 M parameters on a CPU; on a GPU generation weighs more.
EFFICIENCY = {"cpu": 0.4, "cuda": 0.15}


def parameters(config: Config) -> tuple[int, int]:
    """Number of parameters of the policy, and of those that are trained, from its configuration alone."""
    model = empty_model(config.model)
    size = sum(p.numel() for p in model.parameters())
    with torch.device("meta"):
        model = add_adapter(model, config.adapter)
    return size, sum(p.numel() for p in model.parameters() if p.requires_grad)


def matrix_flops(config: Config) -> float:
    """Floating-point operations per second of a large matrix product here, in the model's dtype and thread count."""
    torch.set_num_threads(config.execution.threads)
    device, dtype = config.execution.device, getattr(torch, config.model.dtype)
    size, count = (512, 20) if device == "cpu" else (4096, 50)
    a = torch.ones(size, size, device=device, dtype=dtype)
    for _warm in range(2):  # the first round warms up
        start = time.perf_counter()
        for _ in range(count):
            b = a @ a
        b[0, 0].item()  # waits for the device
        elapsed = time.perf_counter() - start
    return 2 * size**3 * count / elapsed


def describe(runs: list[Run], sources: dict[str, TaskSource], out: Path) -> str:
    """The runs, their budgets, and an estimate of the time (rough: within a factor of about two)."""
    config = runs[0].config
    (size, trained), flops = parameters(config), matrix_flops(config)
    per_token = 2 * size / (flops * EFFICIENCY["cpu" if config.execution.device == "cpu" else "cuda"])
    evaluation, prompts = config.evaluation, next(iter(sources.values())).data.prompts
    validated, tested = (len(prompts[split][: count or None]) for split, count in (
        ("validation", evaluation.validation_prompts), ("test", evaluation.test_prompts)))
    budget = config.budget
    optimise = budget.limit if budget.kind == "seconds" else work.optimisation(config) * per_token
    other = work.beside(config, validated, tested) * per_token
    prepare = per_token * len({run.seed for run in runs}) * sum(
        work.preparation(config, len(source.data.demonstrations), len(source.data.preferences["train"]))
        for source in sources.values())
    todo = [run for run in runs if not RunStore(out / run.name).done]
    lines = [f"{run.name}  {'done' if run not in todo else f'{budget.limit:,.0f} {budget.kind}'}" for run in runs]
    total = (prepare + len(todo) * (optimise + other)) / max(1, config.execution.workers) if todo else 0
    return "\n".join([
        *lines, f"{len(runs)} runs, {len(runs) - len(todo)} finished; {size / 1e6:,.1f} M parameters, "
        f"d = {trained:,} trained, {config.execution.workers} workers on {config.execution.device}, results in {out}",
        f"estimate (rough): {duration(optimise)} of optimisation and {duration(other)} of evaluation and refinement a "
        f"run, {duration(total)} in all",
    ])
