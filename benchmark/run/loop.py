"""One run: iterations of policy optimisation and reward-model refinement under one budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from baselines.context import Context, Objective, Progress
from baselines.estimators.health import Health, noise_floor
from baselines.registry import get_method
from benchmark.core import provenance
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError
from benchmark.core.meter import Meter, PeakMemory
from benchmark.lm.adapted import Tensors
from benchmark.lm.rollout import Batch, PromptStream, Sampler
from benchmark.lm.training import refine_reward
from benchmark.plan.run import Run
from benchmark.run.evaluation import Evaluation, Evaluator, load_baseline
from benchmark.run.prepared import Prepared
from benchmark.run.store import RunStore

Report = Callable[[dict[str, Any]], None]


@dataclass
class Slice:
    """Answers, after every update, how far the budget of a run and of its current iteration is spent."""

    limit: float
    kind: str
    iterations: int
    meter: Meter

    @property
    def spent(self) -> float:
        return self.meter.spent()[self.kind]

    def progress(self, iteration: int) -> Progress:
        share = self.spent / self.limit
        return Progress(min(1.0, share), min(1.0, max(0.0, share * self.iterations - iteration)))

    def over(self, iteration: int) -> bool:
        """Whether the slice of ``iteration`` is used up; the last slice ends exactly at the limit."""
        end = self.limit if iteration + 1 == self.iterations else self.limit * (iteration + 1) / self.iterations
        return self.spent >= end


class Execution:
    """A run in progress: its models, method, meter and store."""

    def __init__(self, run: Run, prepared: Prepared, store: RunStore, report: Report,
                 meter: Meter | None = None) -> None:
        config, device = run.config, prepared.device
        cuda = device.type == "cuda"
        self.run, self.prepared, self.store, self.report = run, prepared, store, report
        self.meter = meter or Meter(synchronize=torch.cuda.synchronize if cuda else lambda: None)
        self.memory = PeakMemory(cuda)
        self.peaks: dict[str, float] = {}
        self.policy = prepared.policy(self.meter, run.seed)
        self.reward = prepared.reward(self.meter, run.seed, policy=self.policy)
        initial = self.reward.state()
        self.baseline = load_baseline(prepared.folder / "baseline.json")
        self.evaluator = Evaluator(prepared, initial, run.seed, self.baseline)
        self.refinement_prompts = self._prompts("refinement prompts")
        with self.meter.ledger("rollout"):  # what only this method needs (PPO's critic) is charged to it
            self.objective = self.objective_on("prompts", "rollout")
        settings = get_method(run.method).hyperparameters(config.methods)[1]
        estimator = get_method(run.method).classes()[1]
        # Copies of an adapter are small; copies of a whole model are what zeroth-order methods do without.
        self.estimator = estimator({**self.policy.parameters, **self.objective.parameters}, settings, run.seed,
                                   config.execution.backward_batch, stream=config.adapter.rank == 0)
        self.slice = Slice(run.budget.limit, run.budget.kind, config.loop.iterations, self.meter)
        self.health, self.noise = Health(), {}
        self.evaluated = 0  # evaluation points passed, of config.evaluation.points
        self.latest: Evaluation = self.baseline["validation"]
        self.final: Evaluation = self.baseline["test"]
        self.resumed: list[int] = []  # updates after which interrupted attempts were taken up again
        self._saved_at = 0.0  # wall seconds at the last checkpoint

    def _prompts(self, stream: str) -> PromptStream:
        bodies = [prompt.text for prompt in self.prepared.data.prompts["train"]]
        return PromptStream(bodies, self.prepared.encoder, stream, self.run.seed)

    def objective_on(self, prompts: str, rollout: str) -> Objective:
        """The method's objective for the run's policy; the arguments name its random streams."""
        run, config, prepared = self.run, self.run.config, self.prepared
        temperature = config.decoding.temperature
        sampler = Sampler(self.policy, self.reward, self._prompts(prompts), temperature, rollout, run.seed)
        context = Context(
            self.policy, sampler, lambda: prepared.reward(self.meter, run.seed, "critic", self.policy),
            prepared.data.pairs, config.loop.sequences_per_update, temperature, run.seed,
        )
        method = get_method(run.method)
        return method.classes()[0](context, method.hyperparameters(config.methods)[0])

    def execute(self, saved: Saved | None = None) -> dict[str, Any]:
        """Spend the budget; return the summary (not yet written).

        Args:
            saved: the checkpoint to go on from; the store's files are as they were then.
        """
        loop = self.run.config.loop
        first, begun = self._load(saved) if saved else self._begin()
        status, warnings = "done", []
        try:
            for iteration in range(first, loop.iterations):
                self._optimise(iteration, begun and iteration == first)
                if loop.refine_pairs:
                    with self.meter.ledger("refine"):
                        self._refine(iteration)
                self._save(iteration + 1)
                self._checkpoint(iteration + 1, begun=False)
        except RunError as error:
            if not str(error).startswith("diverged"):
                raise
            status, warnings = "diverged", [str(error)]
        return self._summary(status, [*dict.fromkeys(self.estimator.warnings), *self.health.warnings(), *warnings])

    def _begin(self) -> tuple[int, bool]:
        self.memory.start()
        self.peaks["loaded"] = self.memory.now()
        self._record("validation", 0.0, self.baseline["validation"], 0)
        self._record("test", 0.0, self.baseline["test"], 0)
        self._save(0)
        return 0, False

    def _checkpoint(self, iteration: int, begun: bool) -> None:
        """Keep all that the rest of the run depends on.

        Args:
            iteration: the next one to work on.
            begun: whether its first update has been made.
        """
        with self.meter.ledger("log"):
            self.store.checkpoint({
                "iteration": iteration, "begun": begun, "policy": self.policy.saved(),
                "reward": self.reward.saved(), "objective": self.objective.state(),
                "estimator": self.estimator.state(), "refinement": self.refinement_prompts.state(),
                "evaluated": self.evaluated, "latest": vars(self.latest), "final": vars(self.final),
                "peaks": self.peaks, "resumed": self.resumed, "meter": self.meter.state()})
        self._saved_at = self.meter.wall_seconds()

    def _checkpoint_if_due(self, iteration: int) -> None:
        if self.meter.wall_seconds() - self._saved_at >= self.run.config.execution.checkpoint_seconds:
            self._note_peak()  # what a checkpoint needs for a moment is not the method's
            self._checkpoint(iteration, begun=True)
            self.memory.start()

    def _load(self, saved: Saved) -> tuple[int, bool]:
        """Take up a checkpoint; return its iteration, and whether that was begun."""
        iteration, begun = saved["iteration"], saved["begun"]
        self.policy.restore(saved["policy"])
        self.reward.restore(saved["reward"])
        self.objective.load_state(saved["objective"])
        if begun:
            self.estimator.begin_iteration(iteration, self.store)
        self.estimator.load_state(saved["estimator"])
        self.refinement_prompts.load_state(saved["refinement"])
        self.evaluated, self.peaks = saved["evaluated"], saved["peaks"]
        self.latest, self.final = Evaluation(**saved["latest"]), Evaluation(**saved["final"])
        for row in self.store.rows("updates.jsonl"):
            if "difference" in row:
                self.health.note(row["iteration"], row)
                self.noise.setdefault(row["iteration"], row["noise_floor"])
        self.meter.load_state(saved["meter"])
        self._saved_at = self.meter.wall_seconds()
        self.resumed = [*saved["resumed"], self.meter.updates]
        return iteration, begun

    def _optimise(self, iteration: int, begun: bool) -> None:
        """Policy optimisation until this iteration's slice of the budget is spent. ``begun``: part of it is."""
        if self.slice.over(iteration):  # one update may overshoot more than a whole slice of a small budget
            return
        if not begun:
            self.estimator.begin_iteration(iteration, self.store)
        self.memory.start()
        while not self.slice.over(iteration):
            with self.meter.ledger("rollout"):
                batch = self.objective.collect()
            for _ in range(self.objective.epochs):
                with self.meter.ledger("update"):
                    figures = self.estimator.step(self.objective.loss, batch, self.slice.progress(iteration))
                self.meter.updates += 1
                if "difference" in figures:  # a zeroth-order update
                    figures["noise_floor"] = self._noise_floor(iteration, batch)
                    self.health.note(iteration, figures)
                self._log_update(iteration, {**batch.info, **figures})
                self._keep_if_due(iteration)
                self._evaluate_if_due(iteration)
                if self.slice.over(iteration):
                    break
            self._checkpoint_if_due(iteration)
        self._note_peak()

    def _keep_if_due(self, iteration: int) -> None:
        """Keep the policy at every ``execution.keep_every``-th update; the last of an iteration is kept anyway."""
        every = self.run.config.execution.keep_every
        if every and self.meter.updates % every == 0 and not self.slice.over(iteration):
            with self.meter.ledger("log"):
                self.store.save_policy(iteration, self.meter.updates, self.policy.state())

    def _noise_floor(self, iteration: int, batch: Batch) -> float:
        """Noise of the loss, measured once in every iteration, at its first zeroth-order update."""
        if iteration not in self.noise:
            with self.meter.ledger("log"):
                self.noise[iteration] = noise_floor(
                    self.estimator.parameters, self.estimator.sizes, self.objective.loss, batch,
                    self.run.config.execution.backward_batch, self.run.seed, iteration)
        return self.noise[iteration]

    def _note_peak(self) -> None:
        phase = self.estimator.phase
        self.peaks[phase] = max(self.peaks.get(phase, 0.0), self.memory.peak())

    def _evaluate_if_due(self, iteration: int) -> None:
        points = self.run.config.evaluation.points
        due = min(points, int(self.slice.progress(0).run * points + 1e-9))
        if due <= self.evaluated:
            return
        self._note_peak()
        with self.meter.ledger("evaluate"):
            evaluation = self.evaluator.evaluate(self.policy, self.reward, "validation")
        self.evaluated, self.latest = due, evaluation
        self._record("validation", due / points, evaluation, iteration)
        if due == points:
            with self.meter.ledger("evaluate"):
                final = self.evaluator.evaluate(self.policy, self.reward, "test")
            self._record("test", 1.0, final, iteration)
            self.final = final
        self.memory.start()

    def _record(self, split: str, fraction: float, evaluation: Evaluation, iteration: int) -> None:
        finite("the evaluation's", evaluation.metrics)
        with self.meter.ledger("log"):
            self.store.append("curve.jsonl", {
                "split": split, "fraction": fraction, "update": self.meter.updates, "iteration": iteration,
                "spent": self.meter.spent(), "ledgers": dict(self.meter.seconds), "metrics": evaluation.metrics})

    def _log_update(self, iteration: int, figures: dict[str, float]) -> None:
        finite("the update's", figures)
        with self.meter.ledger("log"):
            spent = self.meter.spent()
            self.store.append("updates.jsonl", {"update": self.meter.updates, "iteration": iteration, **figures,
                                                "spent": spent})
            self.report({"share": min(1.0, spent[self.slice.kind] / self.slice.limit), "stage": f"i{iteration + 1}",
                         "reward": self.latest.metrics["reward"], "seconds": self.meter.wall_seconds()})

    def _refine(self, iteration: int) -> None:
        """The judge labels fresh pairs sampled from the policy; the reward model learns from them."""
        loop, config = self.run.config.loop, self.run.config
        bodies, prompts = self.refinement_prompts.take(loop.refine_pairs)
        texts = []
        for side in "ab":
            sampled, _ = self.policy.generate(prompts, config.decoding.temperature, "refinement", self.run.seed,
                                              iteration, side)
            texts.append(self.prepared.encoder.texts(sampled))
        preferences = self.evaluator.prefer(bodies, *texts)
        before = self.reward.state()
        refine_reward(self.reward, list(zip(bodies, *texts, strict=True)), preferences, loop,
                      config.execution.backward_batch, (self.run.seed, iteration))
        if loop.keep_close:
            after = self.reward.state()
            self.reward.load_state({name: torch.lerp(after[name], before[name], loop.keep_close) for name in after})

    def _save(self, iteration: int) -> None:
        with self.meter.ledger("log"):
            reward: Tensors = self.reward.state()
            self.store.save_adapters(iteration, self.policy.state(), reward)

    def _summary(self, status: str, warnings: list[str]) -> dict[str, Any]:
        done = status == "done"
        initial = {split: evaluation.metrics for split, evaluation in self.baseline.items()}
        final = {"validation": self.latest.metrics, "test": self.final.metrics} if done else None
        if done:
            self._save_samples()
        spent, kind = self.meter.spent(), self.slice.kind
        return {
            "status": status, "run": self.run.identity(), "initial": initial, "final": final,
            "reward_increase": final["test"]["reward"] - initial["test"]["reward"] if final else None,
            "spent": spent, "overshoot": {"kind": kind, "amount": max(0.0, spent[kind] - self.slice.limit)},
            "wall_seconds": self.meter.close(), "ledgers": dict(self.meter.seconds),
            "ledger_tokens": dict(self.meter.tokens), "peak_memory_mib": self.peaks, "health": self.health.summary(),
            "warnings": warnings,
            "resumed": {"count": len(self.resumed), "after_updates": self.resumed},
        }

    def _save_samples(self) -> None:
        rows, base = self.evaluator.rows["test"], self.baseline["test"]
        for index in range(min(self.run.config.evaluation.samples, len(rows))):
            self.store.append("samples.jsonl", {
                "prompt": rows[index].text, "reference": rows[index].reference,
                "base": base.completions[index], "base_reward": base.rewards[index],
                "completion": self.final.completions[index], "reward": self.final.rewards[index]})


def finite(what: str, figures: dict[str, float]) -> None:
    """RunError if a figure is not a finite number."""
    wrong = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
    if wrong:
        raise RunError(f"diverged: {what} {', '.join(wrong)}. Lower the learning rate.")


def execute(run: Run, prepared: Prepared, store: RunStore, report: Report) -> dict[str, Any]:
    """Execute ``run`` into ``store``, from its last checkpoint if it has one; return its summary, which is on disk by
    then."""
    info = prepared.info
    environment = provenance.environment(str(prepared.device), run.config.execution.threads,
                                         run.config.execution.workers)
    environment |= {
        "data": {key: info[key] for key in ("source", "revision", "rows", "prompts", "pairs", "long_prompts")},
        "model": {"path": info["model"], "revision": info["model_revision"], "parameters": info["parameters"],
                  "special_tokens": info["special_tokens"]},
        "preparation": {key: info[key] for key in ("key", "sft_loss", "reward_loss", "reward_accuracy",
                                                   "held_out_pairs", "judge", "seconds")},
    }
    saved = store.begin({"run": run.identity(), "config": run.resolved()}, environment,
                        lambda text: report({"note": text}))
    if saved:
        report({"note": f"goes on after update {saved['meter']['updates']}"})
    summary = {**Execution(run, prepared, store, report).execute(saved), "adapters": store.digests()}
    store.finish(summary, run.config.execution.keep)
    return summary
