"""Who takes part in a run: policy, reward model, evaluator, and the method's objective and estimator."""

from __future__ import annotations

from baselines.contract import Context, Estimator, Objective
from baselines.registry import get_method
from benchmark.core.meter import Meter
from benchmark.lm.rollout import PromptStream, Sampler
from benchmark.plan.run import Run
from benchmark.run.evaluation import Evaluator, load_starts
from benchmark.run.prepared import Prepared


class Participants:
    """The models of a run at its start, and its method.

    Args:
        meter: is charged for every forward and backward pass of policy, reward model and critic.
    """

    def __init__(self, run: Run, prepared: Prepared, meter: Meter):
        self.run, self.prepared, self.meter = run, prepared, meter
        self.method = get_method(run.method)
        self.values = self.method.resolved(run.config.methods)  # hyperparameters
        self.policy = prepared.policy(meter, run.seed)
        self.reward = prepared.reward(meter, run.seed, policy=self.policy)
        self.starts = load_starts(prepared.folder / "baseline.json")
        self.evaluator = Evaluator(prepared, self.reward.state(), run.seed, self.starts)
        with meter.ledger("rollout"):  # what only this method needs (PPO's critic) is charged to it
            self.objective = self.objective_on("prompts", "rollout")

    def prompts(self, stream: str) -> PromptStream:
        """The training prompts in an order of their own."""
        bodies = [prompt.text for prompt in self.prepared.data.prompts["train"]]
        return PromptStream(bodies, self.prepared.encoder, stream, self.run.seed)

    def objective_on(self, prompts: str, rollout: str) -> Objective:
        """The method's objective for the run's policy; the arguments name its random streams."""
        run, config, prepared = self.run, self.run.config, self.prepared
        temperature = config.decoding.temperature
        sampler = Sampler(self.policy, self.reward, self.prompts(prompts), temperature, rollout, run.seed)
        context = Context(
            self.policy, sampler, lambda: prepared.reward(self.meter, run.seed, "critic", self.policy),
            prepared.data.pairs, config.loop.sequences_per_update, temperature, run.seed,
        )
        return self.method.make_objective(context, self.values)

    def new_estimator(self, warm: bool) -> Estimator:
        """What finds the descent: in the ``warm`` start, or after it."""
        self.objective.warm = warm
        parameters = {**self.policy.parameters, **self.objective.parameters}
        for parameter in parameters.values():
            parameter.grad = None  # the warm start's
        # Copies of an adapter are small; copies of a whole model are what zeroth-order methods do without.
        return self.method.make_estimator(parameters, self.values, self.run.seed, warm=warm,
                                          stream=self.run.config.adapter.kind == "full")
