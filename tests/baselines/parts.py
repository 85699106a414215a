"""Parts of methods put together by hand, and problems made of a loss and a batch."""

from __future__ import annotations

from baselines.contract import Progress
from baselines.registry import get_method
from benchmark.run.problem import BatchProblem

START = Progress(0.0, 0.0)


class Given:
    """An objective of which there is only the loss."""

    sampled = False

    def __init__(self, loss):
        self.loss = loss

    def examples(self, batch):
        raise NotImplementedError


def problem(loss, batch, size=4):
    return BatchProblem(Given(loss), batch, size)


def make(method, parameters, seed=0, stream=False, **values):
    """The method's estimator, past its warm start."""
    row = get_method(method)
    return row.make_estimator(parameters, row.resolved({method: values}), seed, stream=stream)


def step(estimator, loss, batch, size=4, progress=START):
    """Make one update; return its figures."""
    return estimator.step(problem(loss, batch, size), progress).row()


def z_of(estimator, name):
    """z of the next update."""
    estimator.direction.begin(estimator.updates, START)
    return estimator.z(0, name)
