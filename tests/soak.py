"""Real kills at random moments: ``python -m tests.soak --kills 50``.

The real command runs a small grid of every main method. It is killed with SIGKILL at a random moment after its first
job has begun, sometimes with all of its processes and sometimes alone, and started again, until the grid is finished.
Every finished grid is held against one that was left alone: runs, adapters, preparation and tables must be
the same, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmark.core.errors import BenchmarkError
from benchmark.run.store import RunStore
from tests.benchmark.reporting.outcomes import of_preparation, of_run, of_tables

ROOT = Path(__file__).parents[1]
SETTINGS = ["sft.steps=8", "reward_model.steps=6", "judge.kind=reward_model", "judge.steps=4", "train_rows=150",
            "heldout_rows=40", "validation_prompts=4", "test_prompts=4", "max_new_tokens=6", "refine_pairs=4",
            "checkpoint_seconds=0"]
STAGES = ["tokenizer", "SFT", "reward model", "judge language", "judge"]  # of a preparation, in their order


def command(folder: Path, methods: str, updates: int, workers: int) -> list[str]:
    """The ``run`` command of the grid, its results and cache in ``folder``."""
    settings = [word for assignment in SETTINGS for word in ("--set", assignment)]
    return [sys.executable, "-m", "benchmark", "run", "--profile", "smoke", "--task", "wmt20_mlqe", "--device", "cpu",
            "--method", methods, "--budget", f"updates={updates}", "--workers", str(workers), *settings,
            "--out", str(folder / "out"), "--cache", str(folder / "cache")]


def start(arguments: Sequence[str], log: Path) -> subprocess.Popen:
    with open(log, "a", encoding="utf-8") as file:
        return subprocess.Popen(arguments, cwd=ROOT, stdout=file, stderr=file, start_new_session=True,
                                env={**os.environ, "HF_HUB_OFFLINE": "1"})


def survives(process: subprocess.Popen, log: Path, seconds: float) -> bool:
    """Wait until the process ends, or for ``seconds`` after its first job has begun; whether it still lives."""
    end = None
    while process.poll() is None and (end is None or time.monotonic() < end):
        if end is None and " start " in log.read_text(encoding="utf-8"):
            end = time.monotonic() + seconds
        time.sleep(0.02)
    return process.poll() is None


def kill(process: subprocess.Popen, alone: bool) -> None:
    """SIGKILL to the command ``alone``, or to all of its processes."""
    if alone:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def outcomes(folder: Path) -> dict[str, object]:
    """All of a finished grid that must not depend on kills, by name."""
    runs = {path.name: of_run(RunStore(path)) for path in sorted((folder / "out").glob("*__*__s*__*"))}
    caches = {path.name: of_preparation(path) for path in sorted((folder / "cache").iterdir())}
    return {**runs, **caches, "tables": of_tables(folder / "out" / "report")}


def differences(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    return [name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]


def stage(folder: Path) -> str:
    """Where a grid stood when it was killed, roughly."""
    if not list((folder / "cache").glob("*/preparation.json")):
        kept = {path.stem for path in (folder / "cache").glob("*.part/stages/*.json")}
        return f"preparation after {max(kept, key=STAGES.index)}" if kept else "preparation"
    open_runs = [path for path in (folder / "out").glob("*__*__s*__*") if not (path / "summary.json").is_file()]
    return ", ".join(sorted(path.name.split("__")[1] for path in open_runs)) or "between runs or in the report"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="at least so many (default 50)")
    parser.add_argument("--methods", default="main", metavar="NAMES", help="methods or a group (default main)")
    parser.add_argument("--updates", type=int, default=8, metavar="N", help="budget of every run (default 8)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="runs at the same time (default 2)")
    parser.add_argument("--most", type=float, metavar="SECONDS", help="from the first job to a kill (default: a third "
                        "of the time that the grid takes when it is left alone)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default 0)")
    options = parser.parse_args(arguments)
    draws, kills, grids, wrong, stages = random.Random(options.seed), 0, 0, [], Counter()
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        base = Path(temporary)
        (base / "whole").mkdir()
        words = command(base / "whole", options.methods, options.updates, options.workers)
        begun = time.monotonic()
        if start(words, base / "log").wait():
            print((base / "log").read_text()[-4000:], file=sys.stderr)
            raise BenchmarkError("soak: the grid fails even when it is left alone")
        most = options.most or (time.monotonic() - begun) / 3
        expected = outcomes(base / "whole")
        while kills < options.kills and not wrong:
            folder, own = base / "killed", 0
            folder.mkdir()
            words = command(folder, options.methods, options.updates, options.workers)
            while True:
                (base / "log").unlink()
                process = start(words, base / "log")
                if kills >= options.kills:
                    process.wait()
                elif survives(process, base / "log", draws.uniform(0, most)):
                    kill(process, alone=draws.random() < 0.3)
                    kills, own = kills + 1, own + 1
                    stages[stage(folder)] += 1
                    time.sleep(draws.uniform(0, 0.5))
                    continue
                code = process.returncode
                break
            grids += 1
            found = outcomes(folder) if code == 0 else {}
            wrong = differences(expected, found)
            print(f"grid {grids}: exit code {code} after {own} kills ({kills} in all); "
                  f"{len(expected) - len(wrong)} of {len(expected)} parts identical", flush=True)
            if wrong:
                print((base / "log").read_text()[-4000:], file=sys.stderr)
            else:
                shutil.rmtree(folder)
    for name, count in stages.most_common():
        print(f"  {count:3} kills in {name}")
    print(f"{kills} kills, {grids} grids, different: {', '.join(wrong) or 'nothing'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
