"""Slurm without Slurm: submitit's local executor, and commands that stand in for sbatch, srun, sacct and scancel."""

from __future__ import annotations

import os
import pickletools
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from benchmark.core.errors import ConfigError
from benchmark.core.sections import EngineSettings
from benchmark.engines import slurm as engines
from benchmark.engines.head import execute_elsewhere
from benchmark.engines.queue import ALIVE, CANCELLED, ENDED, LOST, MEMORY, TIMEOUT, Ledger
from benchmark.engines.slurm import Slurm, parameters
from benchmark.grid.jobs import jobs_for
from tests.benchmark.reporting.outcomes import of_run

submitit = pytest.importorskip("submitit", reason="submitit is not installed: pip install -e '.[slurm]'")

SBATCH = """#!{python}
# Carries the script out at once, for every task of its array, and keeps what became of it.
import os, re, subprocess, sys
from pathlib import Path

text = Path(sys.argv[1]).read_text()
Path({log!r}).open("a").write(text)
folder = Path({states!r})
number = str(100 + len(list(folder.glob("*.main"))))
(folder / f"{{number}}.main").touch()
print("Submitted batch job", number, flush=True)
array = re.search(r"--array=0-(\\d+)", text)
tasks = range(int(array[1]) + 1) if array else [None]
if os.fork():
    sys.exit()
os.setsid()
for name in (0, 1, 2):
    os.dup2(os.open(os.devnull, os.O_RDWR), name)
if after := re.search(r"--dependency=afterok:(\\d+)", text):
    while (state := (folder / after[1]).read_text()) == "RUNNING":
        __import__("time").sleep(0.1)
    if state != "COMPLETED":
        tasks = []
for task in tasks:
    job = number if task is None else f"{{number}}_{{task}}"
    (folder / job).write_text("RUNNING")
for task in tasks:
    job = number if task is None else f"{{number}}_{{task}}"
    where = {{"SLURM_JOB_ID": number, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}}
    if task is not None:
        where |= {{"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(task)}}
    code = subprocess.run(["bash", sys.argv[1]], env=os.environ | where).returncode
    (folder / job).write_text("COMPLETED" if code == 0 else "FAILED")
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do case $1 in --output|--error) shift 2;; *) shift;; esac; done
exec "$@"
"""
SACCT = """#!{python}
from pathlib import Path

print("JobID|State|NodeList")
for path in sorted(Path({states!r}).iterdir()):
    if path.suffix != ".main":
        print(f"{{path.name}}|{{path.read_text()}}|node1")
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands with the names of Slurm's; the folder with the states, and the log of what was submitted."""
    place, states, log = tmp_path / "bin", tmp_path / "states", tmp_path / "submitted"
    for folder in (place, states):
        folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT), ("scancel", "#!/bin/bash\n")):
        filled = text.format(python=sys.executable, states=str(states), log=str(log)) if "{python}" in text else text
        (place / name).write_text(filled)
        (place / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setattr(engines, "ASK", 0.2)
    return log


def test_a_grid_through_sbatch_is_the_grid_of_this_machine(cluster, grid):
    """The preparation is a job, and an array of runs waits for it."""
    runs = grid.jobs("rloo", "zopro", prepared=False, partition="gpu", account="lab", memory_gib=3.0, minutes=30,
                     setup="echo a\necho b")
    jobs = jobs_for((job.run for job in runs), grid.out, grid.cache)
    engine = Slurm("slurm", grid.out / ".engine" / "submitit")
    outcome = execute_elsewhere(jobs, engine, Ledger(grid.out), grid.cache, grid.watcher)
    assert not outcome.failed and set(outcome.done) == {job.name for job in jobs}
    for job in runs:
        assert of_run(job.store) == of_run(grid.here(job))
    text = cluster.read_text()
    first, second = text.split("#!/bin/bash")[1:]
    assert "--dependency" not in first and "--dependency=afterok:100" in second and "--array=0-1%2" in second
    for flag in ("--partition=gpu", "--account=lab", "--mem=3GB", "--time=30", "--signal=USR2@90", "echo a\necho b"):
        assert flag in first and flag in second, flag
    assert "kill-on-invalid-dep=yes" in second
    assert {engine.fate(number) for number in ("100", "101_0", "101_1")} == {ENDED}


def test_a_bundle_that_is_preempted_is_put_back_and_goes_on(grid):
    """submitit's local executor starts a job again that asks for it, as `scontrol requeue` would."""
    (job,) = grid.jobs("mezo", updates=20, kind="slurm", cluster="local")
    engine, ledger = Slurm("local", grid.out / ".engine" / "submitit"), Ledger(grid.out)
    execute_elsewhere([job], engine, ledger, grid.cache, grid.watcher, detach=True)
    (entry,) = ledger.entries.values()
    process, end = engine._jobs[entry.number]._process, time.monotonic() + 240
    while not job.store.checkpoints.folder.is_dir():
        assert time.monotonic() < end and process.poll() is None and not job.store.done
        time.sleep(0.02)
    (child,) = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()
                and _parent(path.name) == process.pid]
    os.kill(child, signal.SIGUSR2)  # to the process of submitit
    process.wait(240)
    said = (grid.out / ".engine" / "submitit" / f"{entry.number}_0_log.err").read_text()
    assert "Requeued job" in said + (grid.out / ".engine" / "submitit" / f"{entry.number}_0_log.out").read_text()
    assert of_run(job.store) == of_run(grid.here(job))


def _parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


@pytest.mark.parametrize(("state", "fate"), [
    ("PENDING", ALIVE), ("RUNNING", ALIVE), ("REQUEUED", ALIVE), ("COMPLETED", ENDED), ("FAILED", ENDED),
    ("OUT_OF_MEMORY", MEMORY), ("TIMEOUT", TIMEOUT), ("CANCELLED by 1000", CANCELLED), ("CANCELLED+", CANCELLED),
    ("PREEMPTED", LOST), ("NODE_FAIL", LOST), ("UNKNOWN", ALIVE)])
def test_the_states_of_slurm_in_the_words_of_the_suite(state, fate, tmp_path, monkeypatch):
    engine = Slurm("slurm", tmp_path)
    engine._jobs["7"] = type("Job", (), {"state": state})()
    assert engine.fate("7") == fate
    monkeypatch.setattr(engines, "UNKNOWN", -1.0)
    assert engine.fate("7") == (LOST if state == "UNKNOWN" else fate)


def test_what_slurm_cannot_give_or_is_not_there_is_said(tmp_path, monkeypatch):
    engine = Slurm("slurm", tmp_path)
    with pytest.raises(ConfigError, match="whole GPUs"):
        engine.send([["x"]], EngineSettings(gpus=0.5))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="a machine that has sbatch"):
        engine.send([["x"]], EngineSettings())
    assert parameters(EngineSettings(gpus=2.0, constraint="a100"), "")["gpus_per_node"] == 2


def test_words_are_all_that_is_pickled(grid):
    """No object of the suite but the words' own holder: whoever changes that changes docs/security.md."""
    engine = Slurm("local", grid.out / ".engine" / "submitit")
    (number,) = engine.send([["no-such-bundle"]], EngineSettings(kind="slurm", cluster="local"))
    job = engine._jobs[number]
    content = job.paths.submitted_pickle.read_bytes()
    named = {argument for opcode, argument, _ in pickletools.genops(content) if isinstance(argument, str)
             and argument.startswith(("benchmark", "tasks", "baselines"))}
    job._process.wait(100)
    assert named == {"benchmark.engines.job"}
