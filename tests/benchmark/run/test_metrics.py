"""Task metrics: by hand, at the ends of their ranges, and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.core.errors import ConfigError
from benchmark.run import metrics

FOLDER = Path(metrics.__file__).parent
ROOT = FOLDER.parents[2]


def test_rouge_l_by_hand():
    # "the cat sat" in "the cat sat down": precision 3/3, recall 3/4, F = 2 · 0.75 / 1.75; the other pair scores 0
    assert metrics.compute("rougeL", ["the cat sat"], ["the cat sat down"]) == pytest.approx(6 / 7)
    assert metrics.compute("rougeL", ["the cat sat", "x"], ["the cat sat down", "y"]) == pytest.approx(3 / 7)


def test_bleu_by_hand():
    # 1- to 4-grams: 5/6, 4/5, 3/4, 2/3, product 1/3; as long as the reference, so no brevity penalty
    score = metrics.compute("bleu", ["a b c d e x"], ["a b c d e f"])
    assert score == pytest.approx(100 * (1 / 3) ** 0.25)


def test_chrf_by_hand():
    # "ab" against "ac": 1-grams match 1 of 2, 2-grams 0 of 1, no longer ones; precision = recall = 1/4
    assert metrics.compute("chrf", ["ab"], ["ac"]) == pytest.approx(25.0)


@pytest.mark.parametrize("name", ["rougeL", "chrf", "bleu"])
def test_a_text_counts_as_often_as_its_weight_says(name):
    said, meant = ["a b c d e x", "one two three four", "cat"], ["a b c d e f", "one two four three", "dog"]
    twice = metrics.compute(name, [*said, said[0]], [*meant, meant[0]])
    assert metrics.compute(name, said, meant, [2.0, 1.0, 1.0]) == pytest.approx(twice)
    assert metrics.compute(name, said, meant, [1.0] * 3) == metrics.compute(name, said, meant) != twice


@pytest.mark.parametrize(("name", "top"), [("rougeL", 1), ("chrf", 100), ("bleu", 100)])
def test_range_ends(name, top):
    text = ["Der kleine Hund schläft heute lange.", "one two three four five"]
    assert metrics.compute(name, text, text) == pytest.approx(top)
    assert metrics.compute(name, ["", ""], text) == 0
    # A second call starts afresh: nothing of the first is kept.
    assert metrics.compute(name, text, text) == pytest.approx(top)


def test_errors_name_the_metric():
    with pytest.raises(ConfigError, match=r"chrff.*chrf"):
        metrics.compute("chrff", ["a"], ["a"])
    for predictions, references in (([], []), (["a"], ["a", "b"])):
        with pytest.raises(ConfigError, match="bleu"):
            metrics.compute("bleu", predictions, references)


def test_importing_the_package_is_light():
    heavy = ('evaluate', 'sacrebleu', 'torch')
    code = f"import sys, benchmark.run.metrics; sys.exit(any(m in sys.modules for m in {heavy}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_modules_load_by_evaluate_without_network(tmp_path):
    """``evaluate.load`` of a folder and of a file, all hub access off and every cache in a fresh folder."""
    code = (
        "import evaluate, sys\n"
        "for name in ('rougeL', 'chrf', 'bleu'):\n"
        "    for path in (sys.argv[1] + '/' + name, sys.argv[1] + f'/{name}/{name}.py'):\n"
        "        text = ['one two three four']\n"
        "        print(name, round(evaluate.load(path).compute(predictions=text, references=text)[name], 6))\n"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path), "HOME": str(tmp_path)}
    env |= dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1")
    env |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    command = [sys.executable, "-c", code, str(FOLDER)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = ["rougeL 1.0", "rougeL 1.0", "chrf 100.0", "chrf 100.0", "bleu 100.0", "bleu 100.0"]
    assert done.stdout.splitlines() == lines


def test_two_processes_at_once_do_not_collide(tmp_path):
    code = (
        "from benchmark.run.metrics import compute\n"
        "for _ in range(20):\n"
        "    assert compute('chrf', ['ab'] * 4, ['ab'] * 4) == 100\n"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env) for _ in range(2)]
    assert [p.wait(timeout=120) for p in both] == [0, 0]
    assert not list(tmp_path.glob("metrics-*")), "each process removes its own cache"
