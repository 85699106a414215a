"""The command line as a user meets it: every wrong request gets an answer that helps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.cli import main, parser
from benchmark.commands.grid import configure, elsewhere
from benchmark.commands.options import names, seed_list
from benchmark.core.errors import ConfigError
from benchmark.core.sections import SFT, Model
from benchmark.engines.queue import Entry, Ledger, engine_folder

ROOT = Path(__file__).parents[3]
QUICK = ["--profile", "smoke", "--task", "wmt20_mlqe", "--device", "cpu", "--set", "sft.steps=4", "--set",
         "reward_model.steps=4", "--set", "train_rows=150", "--set", "heldout_rows=40", "--budget", "updates=2",
         "--set", "validation_prompts=4", "--set", "test_prompts=4", "--set", "max_new_tokens=6"]


def start(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "benchmark", *map(str, arguments)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize(("arguments", "words"), [
    (["run"], ["--all", "--task NAME"]),
    (["run", "--method", "zoppro"], ["unknown method 'zoppro'", "Did you mean zopro"]),
    (["run", "--task", "summarise"], ["unknown task", "summarize_from_feedback"]),
    (["run", "--all", "--budget", "updates=0"], ["--budget updates=0", "above 0"]),
    (["run", "--all", "--budget", "tokens=5"], ["forward_tokens, seconds"]),
    (["run", "--all", "--seeds", "1-"], ["--seeds 1-", "range such as 0-4"]),
    (["run", "--all", "--seeds", "0-3000000"], ["3,000,001 seeds", "--seeds 0-4"]),
    (["run", "--all", "--seeds", "9" * 5000], ["range such as 0-4"]),
    (["run", "--all", "--profile", "huge"], ["unknown profile", "tiny"]),
    (["run", "--all", "--data", "/no/such/folder"], ["/no/such/folder", "does not exist", "--data FOLDER"]),
    (["run", "--all", "--model", "no-owner/no-model"], ["no-owner/no-model", "--model FOLDER", "tiny built-in"]),
    (["run", "--all", "--device", "cuda:9"], ["--device cuda:9", "Try --device cpu"]),
    (["run", "--all", "--set", "loop.itertions=3"], ["Did you mean iterations"]),
    (["run", "--all", "--method", "rloo", "--set", "rloo.k=3"], ["not a multiple of k = 3"]),
    (["run", "--all", "--workers", "-1"], ["at least 0"]),
    (["run", "--all", "--budgets", "0.25M,fast"], ["--budgets forward_tokens=fast", "0.3M"]),
    (["run", "--all", "--budgets", "1M", "--budget", "updates=2"], ["pass one of them"]),
    (["run", "--all", "--dimensions", "norm"], ["unknown dimension", "Did you mean norms"]),
    (["run", "--task", "hh_rlhf", "--method", "zo-full", "--profile", "smoke"],
     ["sparse-mezo trains", "adapter.kind=full"]),
    (["run", "--all", "--engine", "pbs"], ["--engine", "local, slurm, ray"]),
    (["run", "--task", "hh_rlhf", "--engine", "slurm", "--device", "cuda:1"], ["an engine chooses", "--device cuda"]),
    (["run", "--task", "hh_rlhf", "--engine", "slurm", "--device", "cuda"], ["ask the engine", "engine.gpus=1"]),
    (["run", "--task", "hh_rlhf", "--engine", "slurm", "--device", "cpu", "--set", "engine.gpus=1"], ["say --device"]),
    (["run", "--task", "hh_rlhf", "--engine", "ray", "--detach"], ["ray job submit"]),
    (["work", "/no/such/bundle.json"], ["/no/such/bundle.json", "storage that its nodes share"]),
    (["diagnose", ".", "--candidate", "rloo"], ["rloo takes no direction", "zeroth-order"]),
    (["report", "/no/such/folder"], ["no such folder", "--out"]),
])
def test_a_wrong_request_is_answered_with_place_and_remedy(arguments, words, capsys, tmp_path):
    if arguments[0] == "run":
        arguments = [*arguments, "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert main(arguments) == 2
    answer = capsys.readouterr().err
    assert answer.startswith("error: ") and all(word in answer for word in words), answer


@pytest.mark.parametrize(("name", "number", "words"), [
    ("WORLD_SIZE", "2", "without torchrun"), ("OMPI_COMM_WORLD_SIZE", "4", "started this command 4 times"),
    ("SLURM_PROCID", "1", "srun --ntasks=1")])
def test_a_command_that_a_launcher_starts_several_times_is_refused(name, number, words, capsys, monkeypatch):
    monkeypatch.setenv(name, number)
    assert main(["list"]) == 2
    assert f"error: {name}={number}: " in (answer := capsys.readouterr().err) and words in answer
    monkeypatch.setenv(name, "1" if number != "1" else "0")
    assert main(["list"]) == 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["run", *QUICK, "--method", "rloo", "--out", str(tmp_path / "file" / "out"),
                 "--cache", str(tmp_path / "c")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_option_stands_above_a_profiles_override_of_a_task(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[tasks.hh_rlhf.budget]\nlimit = 7\n")
    options = parser().parse_args(["run", "--all", "--profile", str(path), "--budget", "updates=3"])
    budget = configure(options, []).for_task("hh_rlhf").budget
    assert (budget.kind, budget.limit) == ("updates", 3)


@pytest.mark.parametrize(("arguments", "path"), [
    ([], "bundled"), (["--data", "folder"], ""), (["--data", "hub"], ""), (["--set", "data.source=hub"], ""),
    (["--data", "folder", "--model", "bundled"], "bundled"), (["--data", "folder", "--model", "a/b"], "a/b"),
    (["--model", ""], ""), (["--set", "data.source=hub", "--set", "model.path=bundled"], "bundled"),
])
def test_the_base_model_of_the_bundled_worlds_is_not_for_other_rows(tmp_path, arguments, path):
    profile = tmp_path / "mine.toml"
    profile.write_text("[model]\npath = 'bundled'\nhidden_size = 96\n[sft]\nsteps = 7\nlr = 1e-4\n")
    options = parser().parse_args(["run", "--all", "--profile", str(profile), *arguments, "--set", "sft.lr=2"])
    config = configure(options, [])
    other = path == "" and arguments != ["--model", ""]
    assert config.model == Model(path=path, hidden_size=96)
    assert config.sft == (SFT(lr=2.0) if other else SFT(steps=7, lr=2.0))


def test_an_engine_asks_for_the_kind_of_device_and_not_for_one(tmp_path):
    def device(*words):
        options = parser().parse_args(["run", "--all", *words])
        return elsewhere(configure(options, []))

    assert device("--engine", "slurm") == "cpu" and device("--engine", "ray", "--set", "engine.gpus=0.5") == "cuda"


def test_a_folder_has_one_engine_at_a_time(tmp_path, capsys):
    out = tmp_path / "out"
    engine_folder(out)
    ledger = Ledger(out)
    ledger.kind, ledger.cluster, ledger.entries = "slurm", "slurm", {"a": Entry("1", 1, ("x",))}
    ledger.save()
    assert main(["run", *QUICK, "--method", "rloo", "--engine", "ray", "--out", str(out), "--cache",
                 str(tmp_path / "cache")]) == 2
    assert "are with slurm (slurm) already" in capsys.readouterr().err


def test_names_and_seeds():
    assert names(["b,a", "a"], ["a", "b", "c"], "thing") == ["a", "b"]
    assert names(None, ["a", "b"], "thing") == ["a", "b"]
    assert seed_list(["0-2,7", "1"]) == [0, 1, 2, 7]
    with pytest.raises(ConfigError):
        seed_list(["x"])


def test_what_torchrun_leaves_behind_is_put_aside(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "1"), monkeypatch.setenv("RANK", "0")
    assert main(["list"]) == 0
    assert "WORLD_SIZE" not in os.environ and "RANK" not in os.environ


def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    arguments = ["run", *QUICK, "--method", "rloo", "--workers", "1", "--out", str(tmp_path / "out"), "--cache",
                 str(tmp_path / "cache")]
    script.write_text(f"from benchmark.cli import main\nraise SystemExit(main({arguments!r}))\n")
    done = subprocess.run([sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no main guard" in done.stderr and "--workers 0" in done.stderr


def test_list_names_everything_without_importing_torch():
    code = ("import sys; from benchmark.cli import main; main(['list']); "
            "print(sorted({'torch', 'transformers', 'pandas', 'datasets'} & set(sys.modules)))")
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for word in ("hh_rlhf", "online-dpo", "paper", "loop.iterations", "V zopro.py"):
        assert word in output
    assert output.splitlines()[-1] == "[]"


def test_a_dry_run_prints_the_runs_and_an_estimate_and_writes_nothing(tmp_path, capsys):
    assert main(["run", *QUICK, "--seeds", "0-1", "--dry-run", "--out", str(tmp_path / "out"),
                 "--cache", str(tmp_path / "cache")]) == 0
    output = capsys.readouterr().out
    assert output.count("wmt20_mlqe__") == 14 and "2 updates" in output and "estimate" in output
    assert "d = 4,096 trained" in output  # r = 4; 4·(32 + 32), twice 4·(32 + 16), 3 times 4·(32 + 64), in 2 layers
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["lora", "norms", "full"])
def test_a_pattern_that_finds_nothing_is_told_before_anything_is_made(kind, tmp_path, capsys):
    assert main(["run", *QUICK, "--set", f"adapter.kind={kind}", "--set", "adapter.only=layers.9", "--out",
                 str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]) == 2
    assert "adapter.only = 'layers.9' finds nothing to train in Llama" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_grid_runs_reports_and_is_skipped_when_repeated(tmp_path):
    arguments = ["run", *QUICK, "--method", "rloo,dpo", "--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    first = start(*arguments)
    output, errors = first.communicate(timeout=200)
    assert first.returncode == 0, errors
    assert "table_wmt20_mlqe.md" in output and "reward_vs_time_wmt20_mlqe.png" in output
    runs = sorted(p for p in (tmp_path / "out").iterdir() if "__" in p.name)
    assert [p.name.split("__")[1] for p in runs] == ["dpo", "rloo"]
    stamp = [(p / "summary.json").stat().st_mtime_ns for p in runs]
    for path in runs:
        for name in ("config.json", "environment.json", "curve.jsonl", "summary.json"):
            text = (path / name).read_text()
            assert str(tmp_path) not in text and str(ROOT) not in text and os.uname().nodename not in text
        environment = json.loads((path / "environment.json").read_text())
        assert environment["data"]["rows"]["used"] > 0 and environment["packages"]["torch"]
    again = start(*arguments)
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0 and "2 of 2 runs are finished already" in output
    assert stamp == [(p / "summary.json").stat().st_mtime_ns for p in runs]


def test_a_sweep_runs_every_point_and_reports_over_all_of_them(tmp_path, capsys):
    arguments = ["run", *(item for item in QUICK if item not in ("--budget", "updates=2")), "--method", "dpo",
                 "--budgets", "updates=2,1", "--workers", "0", "--cache", str(tmp_path / "cache")]
    out = tmp_path / "out"
    assert main([*arguments, "--dry-run", "--out", str(out)]) == 0 and not out.exists()
    assert "1 updates" in (text := capsys.readouterr().out) and "2 updates" in text
    assert main([*arguments, "--out", str(out)]) == 0
    assert "sweep.png" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["1", "2", "report", "sweep.json"]
    table = (out / "report" / "table_sweep.csv").read_text()
    assert "reward increase at 1 " in table and "reward increase at 2 " in table
    before = {path.name: path.read_bytes() for path in (out / "report").iterdir()}
    assert main(["report", str(out)]) == 0
    assert {path.name: path.read_bytes() for path in (out / "report").iterdir()} == before
    assert "1 runs reported" in capsys.readouterr().out
    assert main(["run", *QUICK, "--method", "dpo", "--out", str(out), "--cache", str(tmp_path / "cache")]) == 2
    assert "holds a sweep" in capsys.readouterr().err


def test_a_failing_run_is_recorded_and_named_and_the_others_go_on(tmp_path):
    """No move in the warm start leaves ZOPrO nothing to perturb along: a failure of one method only."""
    process = start("run", *QUICK, "--method", "rloo,zopro", "--set", "warm_start_lr=0", "--out", tmp_path / "out",
                    "--cache", tmp_path / "cache")
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "FAILED wmt20_mlqe zopro s0" in errors and "Raise warm_start_lr" in errors
    done = {p.parent.name.split("__")[1] for p in (tmp_path / "out").glob("*/summary.json")}
    failed = {p.parent.name.split("__")[1] for p in (tmp_path / "out").glob("*/error.json")}
    assert (done, failed) == ({"rloo"}, {"zopro"})
    assert "1 runs reported, 1 left out" in output


def heed_sigint():
    """A script that starts the tests in the background has its children ignore SIGINT; this one must not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path):
    arguments = ["run", *QUICK, "--method", "dpo,rloo", "--workers", "1", "--out", tmp_path / "out",
                 "--cache", tmp_path / "cache"]
    process = start(*arguments, start_new_session=True, preexec_fn=heed_sigint)
    end = time.monotonic() + 200
    while not list((tmp_path / "out").glob("*__rloo__*/summary.json")) and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "kept" in errors, errors
    again = start(*arguments)
    output, errors = again.communicate(timeout=200)
    assert again.returncode == 0 and "1 of 2 runs are finished already" in output, errors
