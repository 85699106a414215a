"""Writes the committed golden runs and the report files compared with them byte for byte.

    python -m tests.benchmark.reporting.golden.make

Run it after a wanted change of the report, and read the difference before committing it. The numbers are made by hand
and small, so that cells can be computed in the head: two tasks, three methods, two seeds; one run diverged, one
failed, one is unfinished. Texts hold markup on purpose.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmark.reporting import report

HERE = Path(__file__).parent
RUNS, EXPECTED = HERE / "runs", HERE / "expected"
METHOD_ORDER = ("rloo", "zopro", "mezo")
EXTENSIONS = (".csv", ".md", ".tex")

# π₀: task → seed → validation reward; the test reward of π₀ lies 0.1 above it.
STARTS = {"wmt20_mlqe": {0: -2.0, 1: -2.2}, "hh_rlhf": {0: 0.0, 1: 0.5}}
# Gain in validation reward at fractions 0, 1/2, 1 of the budget; on the test split it ends 0.1 lower.
GAINS = {"rloo": (0.0, 0.8, 1.0), "zopro": (0.0, 0.6, 1.4), "mezo": (0.0, 0.1, 0.11)}
SECONDS = {"rloo": 10.0, "zopro": 8.0, "mezo": 5.0}
ALONE = {"wmt20_mlqe": {"chrf": (20.0, 10.0), "bleu": (2.0, 1.5)}, "hh_rlhf": {"rougeL": (0.1, 0.05)}}
LEVELS = {"wmt20_mlqe": 1.0, "hh_rlhf": 2.0}  # reward increase that a search froze
DEVIATIONS = {"wmt20_mlqe": 1.0, "hh_rlhf": 2.0}  # of r₀ over completions of π₀
SCALE = {"constant": 0.3, "copy": 0.1, "demonstrations": 0.8, "references": 1.0}  # gold of answers without a model
# Forward tokens of rollouts, in millions of 2; the rest is updates. With 3 passes a rollout and 2 an update 1.2 is what
# the definition of all three methods says.
ROLLOUT = {"rloo": 1.2, "zopro": 1.2, "mezo": 0.8}
DIVERGED = ("wmt20_mlqe", "mezo", 1)
FAILED = ("hh_rlhf", "zopro", 1)
UNFINISHED = ("hh_rlhf", "mezo", 1)


def metrics(task: str, reward: float, gain: float) -> dict[str, float]:
    """Every metric as a straight function of the reward and its gain."""
    judge = {"gold": 0.5 + gain / 4} if task == "wmt20_mlqe" else {"win_rate": 0.5 + gain / 5}
    own = {name: start + slope * gain for name, (start, slope) in ALONE[task].items()}
    base = {"reward": reward, "current_reward": reward + 0.05, "kl": 2 * gain, "length": 20.0 + gain}
    values = {**base, **judge, "ended": 0.75 + gain / 8, **own}
    return {name: round(value, 6) for name, value in values.items()}


def write_run(out: Path, task: str, method: str, seed: int) -> Path:
    """Write one run directory and return it."""
    state = (task, method, seed)
    digest = f"{list(STARTS).index(task)}{METHOD_ORDER.index(method)}{seed}0abcd"
    folder = out / f"{task}__{method}__s{seed}__{digest}"
    folder.mkdir(parents=True)
    budget = {"kind": "forward_tokens", "limit": 2000000}
    run = {"task": task, "method": method, "seed": seed, "hash": digest, "profile": "tiny", "protocol": "1.0"}
    run["budget"] = budget
    config = {
        "adapter": {"rank": 8},
        "loop": {"sequences_per_update": 32},
        "evaluation": {"reference_increase": LEVELS[task]},
        "method": {"epochs": 1},
    }
    _json(folder / "config.json", {"run": run, "config": config})
    environment = {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": False,
        "python": "3.11.0",
        "packages": {"torch": "2.0.0"},
        "hardware": {"cpu": "Example CPU & Co.", "cores": 2, "gpu": None, "memory_gib": 15.6},
        "threads": 1,
        "workers": 1,
        "device": "cpu",
        "data": {"source": "bundled", "revision": f"{task}-v1", "rows": {"read": 100},
                 "prompts": {"train": 1000, "validation": 6, "test": 8}},
        "preparation": {"reward_accuracy": 0.8125, "held_out_pairs": 16, "judge": {"kind": "gold"},
                        "reward_sd": DEVIATIONS[task], **({"gold_scale": SCALE} if task == "wmt20_mlqe" else {})},
    }
    _json(folder / "environment.json", environment)
    if state == FAILED:
        _json(folder / "error.json", {"type": "RunError", "message": "no memory for a batch of 8 <rows>\n| at all"})
        return folder

    start, scale, seconds = STARTS[task][seed], 1 + seed / 10, SECONDS[method] + seed
    diverged = state == DIVERGED
    records = []
    for i, gain in enumerate(GAINS[method]):
        gain *= scale
        values = metrics(task, start + gain, gain)
        if diverged and i == 2:
            values = dict.fromkeys(values)
        spent = {
            "forward_tokens": 1000000 * i,
            "seconds": seconds * i / 2,
            "completions": 320 * i,
            "updates": 10 * i,
        }
        line = {"fraction": i / 2, "update": 10 * i, "iteration": 0, "spent": spent, "ledgers": {}, "metrics": values}
        records.append({"split": "validation", **line})
        if i in (0, 2):
            test = metrics(task, start + 0.1 + gain - (0.1 if i else 0), gain - (0.1 if i else 0))
            if diverged and i == 2:
                test = dict.fromkeys(test)
            records.append({"split": "test", **line, "metrics": test})
    _lines(folder / "curve.jsonl", records[:3] if state == UNFINISHED else records)
    if state == UNFINISHED:
        return folder

    first, last = records[1]["metrics"], records[-1]["metrics"]
    gone = dict.fromkeys(last)
    samples = [
        {
            "prompt": "Translate: The *cat* | sat.\n<script>alert(1)</script> costs $5",
            "reference": "Die Katze saß.",
            "base": "die die die",
            "completion": f"{method} sagt: [Katze](http://x.example) & `saß`",
            "reward": None if diverged else start + 1,
            "base_reward": start,
        }
    ]
    _lines(folder / "samples.jsonl", samples)
    noise = ["below noise: in 9 of 10 zeroth-order updates (sd 0.02 & more_of_it)"]
    peak = {"loaded": 280.0, "optimisation": 300.0 + seed, **({"warm_start": 420.0} if method == "zopro" else {})}
    summary = {
        "status": "diverged" if diverged else "done",
        "run": run,
        "initial": {"validation": records[0]["metrics"], "test": first},
        "final": {"validation": gone if diverged else records[-2]["metrics"], "test": gone if diverged else last},
        "reward_increase": None if diverged else last["reward"] - first["reward"],
        "spent": records[-1]["spent"],
        "overshoot": {"kind": "forward_tokens", "amount": 0},
        "wall_seconds": seconds + 3,
        "ledgers": {"rollout": seconds / 2, "update": seconds / 2},
        "ledger_tokens": {"rollout": 1e6 * ROLLOUT[method], "update": 2e6 - 1e6 * ROLLOUT[method]},
        "peak_memory_mib": peak,
        "health": None if method == "rloo" else {
            "updates": 10, "below_noise": 0.9 if method == "mezo" else 0.1, "median_step_cosine": 1.0,
            "median_signal_to_noise": 0.5 if method == "mezo" else 40.0 + seed, "median_changed_share": 0.961,
            "median_relative_perturbation": 1.5e-5, "median_step_norm": 2.5e-3, "median_z_norm": 3.0},
        "warnings": noise if method == "mezo" else [],
    }
    _json(folder / "summary.json", summary)
    return folder


def write_runs(out: Path) -> None:
    """The whole grid: 12 run directories, 10 of them finished (one diverged), one failed, one unfinished."""
    for task, seeds in STARTS.items():
        for method in GAINS:
            for seed in seeds:
                write_run(out, task, method, seed)


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _lines(path: Path, values: list[dict]) -> None:
    path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")


def main() -> None:
    for folder in (RUNS, EXPECTED):
        shutil.rmtree(folder, ignore_errors=True)
    write_runs(RUNS)
    result = report(RUNS, method_order=METHOD_ORDER)
    EXPECTED.mkdir()
    for path in result.written:
        if path.suffix in EXTENSIONS:
            shutil.copy(path, EXPECTED / path.name)
    shutil.rmtree(RUNS / "report")
    print(result.summary)


if __name__ == "__main__":
    main()
