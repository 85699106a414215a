"""A positive control: where there is next to nothing to learn, every method of the registry learns it."""

from __future__ import annotations

import pytest

from baselines.registry import METHODS
from tests.baselines.bandit import SEQUENCES, rewards

RISE = 0.2  # of the expected reward, which is about 0.28 at the start, at most 1, and 0.59 after a warm start
STILL = ("frozen", "zopro-warm-start")  # lr = 0 after the warm start
BLIND = ("zopro-shuffled",)  # advantages dealt out at random
# Learning rates by what is done with the estimate: a rule that is linear in it needs one of its own size, the others
# one of the size of a step. So do probes and directions whose step has another length than the slope times z.
RATES = {"sgd": 0.5, "averaged": 3.0, "adamw": 0.05, "sign": 0.05, "momentum": 0.05, "muon": 0.05, "adam": 0.05,
         "orthogonal": 0.05, "radazo": 2e-3,
         "best": 1.0, "normalised": 0.05, "scalar_sign": 0.05, "scalar_adaptive": 0.05, "each_example": 0.2,
         "as long as an update": 3.0, "informed_scaled_rate": 1.0, "comparison": 0.5, "singular_values": 0.5}
COMMON = {"epsilon": 0.05, "sigma": 0.05, "k": 4, "warm_start_lr": 0.01, "schedule": "constant",
          "margin": 0.5,  # π₀ tells some pairs apart by more, some by less
          "sparsity": 0.1, "threshold": 0.5}  # of 20 entries, most are to move
SAMPLES = {"adam": 10, "comparison": 20}  # readings of an update, where they are hundreds
DEAR = 22  # passes of an update from which fewer updates are made
LEARNING = [name for name in METHODS if name not in (*STILL, *BLIND)]


def run(method: str) -> tuple[float, float]:
    """Expected reward at the start, past a warm start, and at the end."""
    row, estimator = METHODS[method], METHODS[method].estimator
    parts = [getattr(estimator, kind, "") for kind in ("part", "direction", "probe", "rule")]
    if parts[1].startswith("informed") and parts[1] not in RATES and row.defaults.get("match_norm", True):
        parts[1] = "as long as an update"
    values = COMMON | {"lr": next(RATES[part] for part in parts if part in RATES)}
    values |= next(({"samples": SAMPLES[part]} for part in parts if part in SAMPLES), {})
    values = {k: v for k, v in values.items() if k in row.fields() and row.defaults.get(k) != 0}  # 0 makes a control
    each = SEQUENCES if parts[2] == "each_example" else 1
    dear = each * estimator.passes(row.resolved({method: values}), False) > DEAR
    found = rewards(method, updates=10 if dear else 30, **values)
    return found[row.warm_start], found[-1]


@pytest.mark.parametrize("method", LEARNING)
def test_every_method_raises_the_reward_where_it_is_easy(method):
    start, end = run(method)
    assert end >= start + RISE, (start, end)


@pytest.mark.parametrize("method", STILL)
def test_a_learning_rate_of_zero_raises_nothing(method):
    start, end = run(method)
    assert start == end


@pytest.mark.parametrize("method", BLIND)
def test_what_sees_no_reward_does_not_raise_it(method):
    start, end = run(method)
    assert end < start + RISE / 2, (start, end)
