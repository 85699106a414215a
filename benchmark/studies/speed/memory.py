"""Peak memory of one figure, in this process.

Two accounts on a CPU: tensors, exactly, from the events of torch's own allocator; and the process's resident set, which
holds the scratch space of libraries too and is known to about half a MiB. On a GPU the allocator's peak is exact.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmark.core.meter import PeakMemory
from benchmark.lm.sequences import Sequences
from benchmark.studies.speed import bare_calls
from benchmark.studies.speed.measure import HALFWAY, make_method, rows_of
from benchmark.studies.speed.plan import Figure
from benchmark.studies.speed.world import World

MIB = 2**20
Probe = Callable[[str, Callable[[], Any]], Any]  # (name of the phase, call) → what the call returns
MARK = "bench phase: "


def run_phases(world: World, figure: Figure, probe: Probe, updates: int = 2) -> None:
    """A method: rollouts and updates, then, without the method, one bare forward on the last rows. A floor: the call.

    What belongs to the method alone (critic, optimiser state, gradients, copies) is made in here and counts. Of a phase
    that comes twice the last one counts: then all state is there, and the rows are those of the bare forward.
    """
    if figure.part == "floors":
        sequences = world.finished(bare_calls.K)
        probe("update", lambda: bare_calls.CALLS[figure.name](world, sequences))
        return

    def method() -> Sequences:
        objective, estimator = make_method(world, figure)
        for _ in range(updates):
            batch = probe("rollout", objective.collect)
            probe("update", partial(estimator.step, world.problem(objective, batch), HALFWAY))
        return rows_of(world, batch)

    sequences = method()
    give_back(world)
    probe("inference", lambda: bare_calls.forward(world, sequences))


def allocated(world: World) -> float | None:
    """MiB allocated on the device, or of this process's resident set; None where the system does not tell."""
    if world.device.type == "cuda":
        return torch.cuda.memory_allocated() / MIB
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return None


def give_back(world: World) -> None:
    """Free what nobody holds any more, down to the operating system."""
    for model in (world.policy, world.reward):
        for parameter in model.parameters.values():
            parameter.grad = None
    gc.collect()
    if world.device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def system_peaks(world: World, figure: Figure) -> dict[str, float] | None:
    """Peak of each phase in MiB above what is allocated now; None where the system does not tell.

    On a CPU the process must have been started with fixed thresholds of malloc, so that freed memory leaves it.
    """
    memory, peaks, base = PeakMemory(world.device.type == "cuda"), {}, allocated(world)
    if base is None:
        return None

    def probe(name: str, call: Callable[[], Any]) -> Any:
        memory.start()
        result = call()
        world.synchronize()
        peaks[name] = memory.peak() - base
        return result

    run_phases(world, figure, probe)
    return peaks


def tensor_peaks(world: World, figure: Figure) -> dict[str, float]:
    """Peak of each phase in MiB of tensors above those there are now, from a trace of allocations on the CPU."""

    def probe(name: str, call: Callable[[], Any]) -> Any:
        with record_function(MARK + name):
            return call()

    with tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
            run_phases(world, figure, probe)
        trace.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    return peaks_of(events)


def peaks_of(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Highest sum of allocations (MiB) within the last phase of each name in a trace, whose start counts as 0."""
    events = list(events)
    phases = sorted(((e["name"].removeprefix(MARK), e["ts"], e["ts"] + e["dur"]) for e in events
                     if e.get("ph") == "X" and e["name"].startswith(MARK)), key=lambda phase: phase[1])
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    now, levels = 0, []
    for moment, size in changes:
        now += size
        levels.append((moment, now))
    peaks: dict[str, float] = {}
    for name, start, end in phases:
        peaks[name] = max((level / MIB for moment, level in levels if start <= moment <= end), default=0.0)
    return peaks


def mebibytes(tensors: Iterable[torch.Tensor]) -> float:
    return sum(t.numel() * t.element_size() for t in tensors) / MIB


def memory_figure(figure: Figure) -> dict[str, Any]:
    """Peaks (MiB) of ``rollout``, ``update`` and ``inference`` above the loaded policy and reward model, for tensors
    and for the ``system`` (None where it does not tell); sizes of the policy and of what is trained."""
    world = World(figure.config, 3)
    run_phases(world, figure, lambda name, call: call(), updates=1)  # thrown away: it loads libraries
    give_back(world)
    system = system_peaks(world, figure)
    give_back(world)
    tensors = system if world.device.type == "cuda" else tensor_peaks(world, figure)
    return {"tensors": tensors, "system": system, "policy": mebibytes(world.policy.model.parameters()),
            "trained": mebibytes(world.policy.parameters.values())}
