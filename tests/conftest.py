"""Shared fixtures: a toy preparation made by the real code on a few bundled rows, seconds on one core."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network
os.environ["TOKENIZERS_PARALLELISM"] = "false"

TASK = "wmt20_mlqe"  # has scores, task metrics and a gold score


def pytest_collection_modifyitems(items):
    """The two files that wait for many processes begin first, so that no worker is left alone with them at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_own_pages.py", "test_cli.py"))


@pytest.fixture(autouse=True)
def one_thread():
    """Every test starts with one torch thread, whatever the one before it asked for: bits depend on their number."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def toy_config():
    """The smoke profile, smaller. One thread, as in a run's own process: more may change the last bits of a sum."""
    import torch

    from benchmark.plan.resolve import load_profile, with_assignments

    torch.set_num_threads(1)
    config = load_profile("smoke")
    return with_assignments(config, [
        "data.train_rows=200", "data.heldout_rows=40", "sft.steps=10", "reward_model.steps=6", "max_new_tokens=8",
        "validation_prompts=6", "test_prompts=6", "device=cpu", "workers=0", "budget.kind=updates", "budget.limit=4",
    ], [])


@pytest.fixture(scope="session")
def toy_sources(toy_config):
    from benchmark.plan.sources import read_tasks

    return read_tasks(toy_config, [TASK])


@pytest.fixture(scope="session")
def toy_folder(toy_config, toy_sources, tmp_path_factory) -> Path:
    """Folder of a finished preparation."""
    from benchmark.start.build import prepare

    folder = tmp_path_factory.mktemp("cache") / f"{TASK}__s0__toy"
    prepare(folder, toy_config, TASK, toy_sources[TASK].data, 0, lambda state: None)
    return folder


@pytest.fixture
def prepared(toy_folder, toy_config):
    from benchmark.run.prepared import Prepared

    return Prepared(toy_folder, toy_config, TASK)


@pytest.fixture
def make_run(toy_config, toy_sources):
    """``make_run(method, **budget or loop overrides)`` → a Run on the toy task."""
    from benchmark.plan.resolve import with_assignments
    from benchmark.plan.run import Run

    def make(method: str, *assignments: str, seed: int = 0):
        config = with_assignments(toy_config, list(assignments), [method])
        return Run(TASK, method, seed, replace(config, profile="toy"), toy_sources[TASK].versions())

    return make
