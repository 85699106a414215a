"""What an estimate counts without weights is what a run trains."""

from __future__ import annotations

import dataclasses

import pytest

from benchmark.core.meter import Meter
from benchmark.grid.estimate import parameters
from benchmark.plan.resolve import with_assignments


@pytest.mark.parametrize("chosen", [
    [], ["adapter.kind=norms"], ["adapter.kind=full", r"only=layers\.1\."], ["only=mlp", "dtype=bfloat16"]])
def test_the_number_of_trained_parameters_is_that_of_the_policy(chosen, toy_config, prepared):
    config = with_assignments(toy_config, chosen, [])
    policy = dataclasses.replace(prepared, config=config).policy(Meter(), 0)
    assert parameters(config)[1] == sum(p.numel() for p in policy.parameters.values())
