"""Peak memory of ``visualise`` on adapters as large as published ones:
``python -m tests.benchmark.studies.interplay.memory``.

Writes one run with random adapters of rank 64 on all linear layers of Llama-3.2-1B (45,088,768 numbers in float32) for
policy and reward model, at the start and after each of 50 iterations: 18.4 GB, removed at the end. Then it runs the
command in a process of its own and prints the largest resident set of that process, Python and all libraries included.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.benchmark.studies.interplay.world import write_run

HIDDEN, INNER, KEYS, LAYERS, RANK = 2048, 8192, 512, 16, 64  # Llama-3.2-1B
MODULES = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (KEYS, HIDDEN), "self_attn.v_proj": (KEYS, HIDDEN),
           "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
           "mlp.down_proj": (HIDDEN, INNER)}
LIMIT_MIB = 2048
CHILD = """
import sys
from benchmark.cli import main
code = main(sys.argv[1:])
status = open("/proc/self/status").read()
print("peak KiB:", status.split("VmHWM:")[1].split()[0])
sys.exit(code)
"""


def shapes(layers: int) -> dict[str, tuple[int, int]]:
    found = {}
    for layer in range(layers):
        for name, (outputs, inputs) in MODULES.items():
            found[f"model.layers.{layer}.{name}.lora_A.weight"] = (RANK, inputs)
            found[f"model.layers.{layer}.{name}.lora_B.weight"] = (outputs, RANK)
    return found


def write(folder: Path, iterations: int, layers: int) -> int:
    """A run directory of random walks; returns the numbers in an adapter. One adapter is in memory at a time."""
    few = {name: torch.zeros(1) for name in ("a", "b")}
    _, store = write_run(folder, [few], [few], rank=RANK)
    shutil.rmtree(store.folder / "adapters")
    known = shapes(layers)
    noise = torch.randn(2 * max(a * b for a, b in known.values()), generator=torch.Generator().manual_seed(0))
    for offset, kind in enumerate(("policy", "reward")):
        for iteration in range(iterations + 1):
            path = store.folder / "adapters" / f"iteration_{iteration}" / f"{kind}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            state = {}
            for place, (name, shape) in enumerate(known.items()):
                size = shape[0] * shape[1]
                starts = [(7919 * place + 104729 * k + 15485863 * offset) % size for k in range(iteration + 1)]
                state[name] = 0.02 * noise[:size] + 1e-3 * sum(noise[start : start + size] for start in starts[-3:])
                state[name] = state[name].view(shape)
            save_file(state, path)
    return sum(a * b for a, b in known.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--folder", type=Path, help="where there is room (default: the system's temporary folder)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        numbers = write(folder, options.iterations, options.layers)
        start = time.monotonic()
        found = subprocess.run([sys.executable, "-c", CHILD, "visualise", str(folder)], stdout=subprocess.PIPE,
                               text=True, check=True)  # what it says of an error goes to the terminal
        seconds, peak = time.monotonic() - start, int(found.stdout.rsplit("peak KiB:", 1)[1]) / 1024
    finally:
        shutil.rmtree(folder)
    print(f"{options.iterations} iterations of {numbers:,} numbers for policy and reward model: peak resident set "
          f"{peak:,.0f} MiB (limit {LIMIT_MIB:,}), {seconds:,.0f} s")
    return int(peak > LIMIT_MIB)


if __name__ == "__main__":
    sys.exit(main())
