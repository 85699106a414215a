"""The clock and the account of compute, with a fake clock and hand-counted cases."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.core.errors import ConfigError, RunError
from benchmark.core.meter import Meter, PeakMemory
from benchmark.core.sections import Budget
from benchmark.run.schedule import BudgetSlices


class FakeClock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return FakeClock()


def test_nested_ledgers_pause_the_outer_one_and_add_up_to_the_wall_time(clock):
    meter = Meter(clock)
    clock.now += 1  # setup
    with meter.ledger("rollout"):
        clock.now += 2
        with meter.ledger("log"):
            clock.now += 4
        clock.now += 8
    with meter.ledger("update"):
        clock.now += 16
    clock.now += 32  # setup again
    assert meter.wall_seconds() == 63
    assert meter.seconds == {"setup": 33, "rollout": 10, "update": 16, "refine": 0, "evaluate": 0, "log": 4}
    assert meter.spent()["seconds"] == 26


def test_a_ledger_is_closed_by_an_error(clock):
    meter = Meter(clock)
    with pytest.raises(RuntimeError), meter.ledger("update"):
        clock.now += 3
        raise RuntimeError
    clock.now += 5
    meter.wall_seconds()
    assert (meter.seconds["update"], meter.seconds["setup"]) == (3, 5)


def test_ledgers_that_do_not_add_up_are_no_result(clock):
    meter = Meter(clock)
    clock.now += 100
    assert meter.close(100) == 100
    meter.close(99.1)
    with pytest.raises(RunError, match=r"100.000 s of 98.900 s"):
        meter.close(98.9)
    meter.seconds["update"] += 1.1
    with pytest.raises(RunError, match=r"101.100 s of 100.000 s"):
        meter.close(100)
    with pytest.raises(RunError, match="open: setup, log"), Meter(clock).ledger("log") as _:
        open_meter = Meter(clock)
        with open_meter.ledger("log"):
            open_meter.close(0)


def test_the_device_is_waited_for_before_time_is_booked(clock):
    def synchronize():
        clock.now += 1  # work that the device still had to do

    meter = Meter(clock, synchronize)
    with meter.ledger("update"):
        pass
    assert meter.seconds["update"] == 1


def test_only_the_methods_ledgers_are_charged():
    meter = Meter()
    meter.forward(1)
    for name in ("rollout", "update", "refine", "evaluate", "log"):
        with meter.ledger(name):
            meter.forward(100)
            meter.scored(4)
    assert meter.spent()["forward_tokens"] == 200
    assert meter.spent()["completions"] == 8
    assert sum(meter.tokens.values()) == 501


def test_backward_costs_twice_with_all_parameters_and_about_once_with_adapters():
    meter = Meter()
    with meter.ledger("update"):
        meter.backward(100, trained=1.0)
        meter.backward(100, trained=0.1)
        meter.forward(100, share=0.5)
    assert meter.spent()["forward_tokens"] == pytest.approx(200 + 110 + 50)


@pytest.mark.parametrize("text", ["forward_tokens", "forward_tokens=", "steps=3", "updates=0", "updates=-1",
                                  "seconds=nan", "seconds=inf", "seconds=ten"])
def test_a_wrong_budget_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="for example --budget forward_tokens"):
        Budget.parse(text)


def test_a_budget_reads_its_number():
    assert Budget.parse("forward_tokens=1_000") == Budget("forward_tokens", 1000)


def test_slices_end_exactly_at_their_share(clock):
    meter = Meter(clock)
    slices = BudgetSlices(12, "seconds", 4, meter)
    with meter.ledger("update"):
        assert not slices.over(0)
        clock.now += 3
        assert slices.over(0) and not slices.over(1)
        clock.now += 4.5  # 7.5 of 12: half of iteration 2
        assert slices.progress(2).iteration == pytest.approx(0.5)
        assert slices.progress(2).run == pytest.approx(0.625)
        clock.now += 4.5
        assert slices.over(3) and slices.progress(3).run == 1.0


def test_peak_memory_sees_an_allocation_and_can_be_reset():
    memory = PeakMemory(cuda=False)
    memory.start()
    before = memory.peak()
    block = np.ones(80 * 2**20, dtype=np.uint8)
    during = memory.peak()
    del block
    memory.start()
    after = memory.peak()
    assert during - before > 70
    assert after < during - 40


def test_sampled_tokens_are_counted_apart_in_a_methods_own_ledgers_and_over_a_resume(clock):
    meter, again = Meter(clock), Meter(clock)
    for ledger in ("rollout", "evaluate", "update", "log"):
        with meter.ledger(ledger):
            meter.generated(10)
    assert meter.spent()["generated_tokens"] == 20 and meter.spent()["forward_tokens"] == 0
    again.load_state(meter.state())
    assert again.spent()["generated_tokens"] == 20
    again.load_state({key: value for key, value in meter.state().items() if key != "generated_tokens"})
    assert again.spent()["generated_tokens"] == 0
