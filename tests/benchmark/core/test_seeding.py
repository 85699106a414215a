"""Random streams: named, stable across processes, independent of each other."""

from __future__ import annotations

import subprocess
import sys

import torch

from benchmark.core.seeding import ShuffledPasses, derive_seed, generator, global_seed


def test_a_seed_is_the_same_in_every_process():
    code = "from benchmark.core.seeding import derive_seed; print(derive_seed('rollout', 3))"
    values = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                             env={"PYTHONHASHSEED": salt, "PYTHONPATH": ":".join(sys.path)}).stdout for salt in "12"}
    assert values == {f"{derive_seed('rollout', 3)}\n"}


def test_names_do_not_run_into_each_other():
    assert derive_seed("a", "bc") != derive_seed("ab", "c")
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert 0 <= derive_seed("x") < 2**63


def test_the_global_generator_is_restored():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with global_seed("a"):
        inside = torch.rand(1)
    assert torch.equal(torch.rand(1), expected)
    with global_seed("a"):
        assert torch.equal(torch.rand(1), inside)


def test_passes_cover_everything_once_and_do_not_depend_on_how_they_are_taken():
    one, many = ShuffledPasses(5, "x", 1), ShuffledPasses(5, "x", 1)
    whole = one.take(12)
    assert sorted(whole[:5]) == sorted(whole[5:10]) == [0, 1, 2, 3, 4]
    assert whole[:5] != whole[5:10]
    assert [i for count in (1, 0, 3, 4, 4) for i in many.take(count)] == whole
    assert ShuffledPasses(5, "x", 2).take(10) != whole[:10]


def test_generators_of_different_names_differ():
    a, b = (torch.rand(4, generator=generator("z", name)) for name in "ab")
    assert not torch.equal(a, b)
