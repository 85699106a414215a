"""One run: iterations of policy optimisation and reward-model refinement under one budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from baselines.contract import Update
from baselines.estimators.health import Health, noise_floor
from benchmark.core import stopping
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError
from benchmark.core.meter import Meter, PeakMemory
from benchmark.core.records import CurveRow, HealthFigures, Metrics, Resumed, Spent, Summary, UpdateRow
from benchmark.lm.rollout import AnyBatch
from benchmark.plan.run import Run
from benchmark.run.description import environment, sample_rows
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared
from benchmark.run.problem import BatchProblem
from benchmark.run.refinement import Refinement
from benchmark.run.schedule import BudgetSlices
from benchmark.run.store import RunStore

Report = Callable[[dict[str, Any]], None]


class RunInProgress:
    """Spends a run's budget: participants act, the meter counts, the store keeps."""

    def __init__(self, run: Run, prepared: Prepared, store: RunStore, report: Report,
                 meter: Meter | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._started = clock, clock()  # beside the meter's own, which adds up whatever it books
        cuda = prepared.device.type == "cuda"
        self.run, self.store, self.report = run, store, report
        self.meter = meter or Meter(synchronize=torch.cuda.synchronize if cuda else lambda: None)
        self.memory = PeakMemory(cuda)
        self.who = Participants(run, prepared, self.meter)
        self.refinement = Refinement(self.who)
        self.slices = BudgetSlices(run.budget.limit, run.budget.kind, run.config.loop.iterations, self.meter)
        self.warm = self.who.method.is_warm(0)  # whether the estimator is that of the warm start
        self.estimator = self.who.new_estimator(self.warm)
        self.paused: Saved | None = None  # state of the estimator that a warm start has taken over from
        self.health, self.noise = Health(), dict[int, float]()
        self.iteration, self.begun = 0, False  # the present one, and whether its first update has been made
        self.evaluated = 0  # evaluation points passed, of config.evaluation.points
        self.latest: Metrics = self.who.starts["validation"].metrics
        self.final: Metrics = self.who.starts["test"].metrics
        self.peaks: dict[str, float] = {}
        self.resumed: list[int] = []  # updates after which interrupted attempts were taken up again
        self.equal_pairs = 0  # of the refinements: twice the same completion
        self._saved_at = 0.0  # wall seconds at the last checkpoint

    def execute(self, saved: Saved | None = None) -> Summary:
        """Spend the budget; return the summary (not yet written).

        Args:
            saved: the checkpoint to go on from; the store's files are as they were then.
        """
        self._load(saved) if saved else self._begin()
        loop = self.run.config.loop
        status, warnings = "done", []
        try:
            while self.iteration < loop.iterations:
                self._optimise()
                if loop.refine_pairs:
                    self._refine()
                self.iteration, self.begun = self.iteration + 1, False
                self._save()
                self._checkpoint()
                stopping.give_way()
        except RunError as error:
            if not str(error).startswith("diverged"):
                raise
            status, warnings = "diverged", [str(error)]
        if status == "done":
            self._save_samples()
        return self._summary(status, [*dict.fromkeys(self.estimator.warnings), *self.health.warnings(), *warnings])

    def _optimise(self) -> None:
        """Policy optimisation until this iteration's slice of the budget is spent."""
        if self.slices.over(self.iteration):  # one update may overshoot more than a whole slice of a small budget
            return
        objective = self.who.objective
        self._begin_iteration()
        self.memory.start()
        while not self.slices.over(self.iteration):
            with self.meter.ledger("rollout"):
                batch = objective.collect()
            for _ in range(objective.epochs):
                self._update(batch)
                if self.slices.over(self.iteration):
                    break
            self._checkpoint_if_due()
        self._note_peak()

    def _begin_iteration(self) -> None:
        """Nothing, in an iteration that an interrupted attempt has begun."""
        if self.begun:
            return
        if (warm := self.who.method.is_warm(self.iteration)) != self.warm:
            self.paused = self.estimator.state() if warm else self.paused
            self.warm, self.estimator = warm, self.who.new_estimator(warm)
            if self.paused and not warm:  # its random streams go on where they were, and so does its rule
                self.estimator.load_state(self.paused)
                self.paused = None
        self.estimator.begin_iteration(self.iteration, self.store)

    def _update(self, batch: AnyBatch) -> None:
        problem = BatchProblem(self.who.objective, batch, self.run.config.execution.backward_batch)
        with self.meter.ledger("update"):
            update = self.estimator.step(problem, self.slices.progress(self.iteration))
        self.begun = True
        self.meter.updates += 1
        row = update.row()
        if update.readings:
            row["noise_floor"] = self._noise_floor(update, problem)
        self.health.note(self.iteration, row)
        self._log_update({**batch.info, **row})
        self._keep_if_due()
        self._evaluate_if_due()

    def _refine(self) -> None:
        with self.meter.ledger("refine"):
            self.equal_pairs += self.refinement.refine(self.iteration)

    # A checkpoint holds parts that say their own state, and fields of this object.
    PARTS = ("meter", "estimator")
    FIELDS = ("iteration", "begun", "warm", "paused", "evaluated", "latest", "final", "peaks", "resumed", "equal_pairs")

    def _checkpoint(self) -> None:
        """Keep all that the rest of the run depends on."""
        with self.meter.ledger("log"):
            who = self.who
            self.store.checkpoint({
                **{name: getattr(self, name) for name in self.FIELDS},
                **{name: getattr(self, name).state() for name in self.PARTS},
                "policy": who.policy.saved(), "reward": who.reward.saved(), "objective": who.objective.state(),
                "refinement": self.refinement.prompts.state()})
        self._saved_at = self.meter.wall_seconds()

    def _checkpoint_if_due(self) -> None:
        late = self.meter.wall_seconds() - self._saved_at >= self.run.config.execution.checkpoint_seconds
        if late or stopping.requested():
            self._note_peak()  # what a checkpoint needs for a moment is not the method's
            self._checkpoint()
            stopping.give_way()
            self.memory.start()

    def _load(self, saved: Saved) -> None:
        """Take up a checkpoint."""
        who = self.who
        for name in self.FIELDS:
            setattr(self, name, saved[name])
        who.policy.restore(saved["policy"])
        who.reward.restore(saved["reward"])
        who.objective.load_state(saved["objective"])
        self.refinement.prompts.load_state(saved["refinement"])
        self.estimator = who.new_estimator(self.warm)
        if self.begun:
            self.estimator.begin_iteration(self.iteration, self.store)
        for name in self.PARTS:
            getattr(self, name).load_state(saved[name])
        for row in self.store.rows("updates.jsonl"):
            self.health.note(row["iteration"], row)
            if "noise_floor" in row:
                self.noise.setdefault(row["iteration"], row["noise_floor"])
        self._saved_at = self.meter.wall_seconds()
        self.resumed = [*self.resumed, self.meter.updates]

    def _begin(self) -> None:
        self.memory.start()
        self.peaks["loaded"] = self.memory.now()
        for split in ("validation", "test"):
            self._record(split, 0.0, self.who.starts[split].metrics)
        self._save()

    def _save(self) -> None:
        """Keep the models as they are before the present iteration."""
        with self.meter.ledger("log"):
            self.store.save_adapters(self.iteration, self.who.policy.state(), self.who.reward.state())

    def _keep_if_due(self) -> None:
        """Keep the policy at every ``execution.keep_every``-th update; the last of an iteration is kept anyway."""
        every = self.run.config.execution.keep_every
        if every and self.meter.updates % every == 0 and not self.slices.over(self.iteration):
            with self.meter.ledger("log"):
                self.store.save_policy(self.iteration, self.meter.updates, self.who.policy.state())

    def _noise_floor(self, update: Update, problem: BatchProblem) -> float:
        """Noise of the loss, measured once in every iteration, at its first zeroth-order update."""
        if self.iteration not in self.noise:
            with self.meter.ledger("log"):
                self.noise[self.iteration] = noise_floor(self.estimator.parameters, update.sizes, problem,
                                                         self.run.seed, self.iteration)
        return self.noise[self.iteration]

    def _note_peak(self) -> None:
        phase = "warm_start" if self.warm else "optimisation"
        self.peaks[phase] = max(self.peaks.get(phase, 0.0), self.memory.peak())

    def _evaluate_if_due(self) -> None:
        points, due = self.run.config.evaluation.points, self.slices.points(self.run.config.evaluation.points)
        if due <= self.evaluated:
            return
        self._note_peak()
        self.evaluated = due
        self.latest = self._evaluate("validation", due / points)
        if due == points:
            self.final = self._evaluate("test", 1.0)
        self.memory.start()

    def _evaluate(self, split: str, fraction: float) -> Metrics:
        with self.meter.ledger("evaluate"):
            metrics = self.who.evaluator.evaluate(self.who.policy, self.who.reward, split)
        self._record(split, fraction, metrics)
        return metrics

    def _record(self, split: str, fraction: float, metrics: Metrics) -> None:
        finite("the evaluation's", metrics)
        with self.meter.ledger("log"):
            self.store.append("curve.jsonl", CurveRow(
                split=split, fraction=fraction, update=self.meter.updates, iteration=self.iteration,
                spent=Spent.of(self.meter.spent()), ledgers=dict(self.meter.seconds),
                metrics=metrics).as_row())

    def _log_update(self, figures: dict[str, float]) -> None:
        finite("the update's", figures)
        with self.meter.ledger("log"):
            spent = self.meter.spent()
            self.store.append("updates.jsonl", UpdateRow(update=self.meter.updates, iteration=self.iteration,
                                                         figures=figures, spent=Spent.of(spent)).as_row())
            self.report({"share": min(1.0, spent[self.slices.kind] / self.slices.limit),
                         "stage": f"i{self.iteration + 1}", "reward": self.latest["reward"],
                         "seconds": self.meter.wall_seconds()})

    def _save_samples(self) -> None:
        with self.meter.ledger("evaluate"):
            for row in sample_rows(self.who):
                self.store.append("samples.jsonl", row)

    def _summary(self, status: str, warnings: list[str]) -> Summary:
        """The content of ``summary.json``; closes the meter."""
        meter, kind = self.meter, self.slices.kind
        initial = {split: start.metrics for split, start in self.who.starts.items()}
        final = {"validation": self.latest, "test": self.final} if status == "done" else None
        spent = meter.spent()
        health = self.health.summary()
        return Summary(
            status=status, run=self.run.identity(), initial=initial, final=final,
            reward_increase=final["test"]["reward"] - initial["test"]["reward"] if final else None,
            reward_increase_se=self.final["reward_se"] if final else None,
            spent=Spent.of(spent), overshoot={"kind": kind, "amount": max(0.0, spent[kind] - self.slices.limit)},
            wall_seconds=meter.close(self._clock() - self._started), ledgers=dict(meter.seconds),
            ledger_tokens=dict(meter.tokens),
            peak_memory_mib=self.peaks, health=HealthFigures.of(health) if health else None,
            trained_parameters=sum(p.numel() for p in self.who.policy.parameters.values()), warnings=tuple(warnings),
            pairs_read=self.who.objective.pairs_read,
            refinement_labels=self.iteration * self.run.config.loop.refine_pairs,
            refinement_equal=self.equal_pairs or None,
            resumed=Resumed(count=len(self.resumed), after_updates=tuple(self.resumed)))


def finite(what: str, figures: dict[str, float]) -> None:
    """RunError if a figure is not a finite number."""
    wrong = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
    if wrong:
        raise RunError(f"diverged: {what} {', '.join(wrong)}. Lower the learning rate.")


def execute(run: Run, prepared: Prepared, store: RunStore, report: Report) -> dict[str, Any]:
    """Execute ``run`` into ``store``, from its last checkpoint if it has one; return its summary, which is on disk by
    then."""
    saved = store.begin({"run": run.identity(), "config": run.resolved()}, environment(run, prepared),
                        lambda text: report({"note": text}))
    if saved:
        report({"note": f"goes on after update {saved['meter']['updates']}"})
    summary = RunInProgress(run, prepared, store, report).execute(saved).as_row() | {"adapters": store.digests()}
    store.finish(summary, run.config.execution.keep)
    return summary
