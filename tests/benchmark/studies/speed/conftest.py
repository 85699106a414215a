"""Shapes and fixtures of the bench's tests."""

from __future__ import annotations

import pytest

from benchmark.studies.speed import plan
from benchmark.studies.speed.plan import ALL, NORM, QUERIES, Figure

SMALL = ["hidden_size=16", "intermediate_size=32", "heads=2", "kv_heads=1", "layers=1", "vocabulary=300", "rank=2",
         "max_prompt_tokens=9", "max_new_tokens=4", "sequences_per_update=8"]


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def config():
    return plan.configure("tiny", SMALL)


def figure(config, part, name, variant="", timed=1):
    shape = plan.whole_model(config) if variant == ALL else config
    if variant in (NORM, QUERIES):
        shape = plan.final_norm(config, 8 if variant == QUERIES else 1)
    return Figure(part, name, variant, shape, 0, timed)
