"""Direction quality: against theory on a linear loss, and on a real run."""

from __future__ import annotations

import json
import math
import shutil

import pandas as pd
import pytest
import torch

from benchmark.cli import main
from benchmark.core.errors import ConfigError
from benchmark.plan.run import load_run
from benchmark.reporting.pages import directions
from benchmark.run.loop import execute
from benchmark.run.store import RunStore
from benchmark.studies import directions as module
from benchmark.studies.directions import KeptState, Settings, candidates, measure, norm
from tests.baselines.parts import make, step, z_of
from tests.baselines.test_estimators import batch, linear_loss, parameters


class LinearPoint:
    """A point whose loss is linear, so that gradient, slope and decrease are known; every rollout is the same."""

    def __init__(self):
        self.parameters = parameters()
        self.slope = {name: torch.randn_like(p) for name, p in self.parameters.items()}
        weight = batch().values["weight"].mean()
        self.true = {name: value * weight for name, value in self.slope.items()}
        self.own = [self.true] * module.SMALL
        self.loss_of = linear_loss(self.parameters, self.slope)


def test_gaussian_directions_are_as_good_as_theory_says():
    """E cos = √(2/πd) and E‖ĝ − g‖²/‖g‖² = d + 1; 400 draws, bands of 5 standard errors."""
    point = LinearPoint()
    d = sum(p.numel() for p in point.parameters.values())
    spsa = make("mezo", point.parameters, lr=0.0)

    def draw(number):
        spsa.updates = number
        z = {name: z_of(spsa, name) for name in point.parameters}
        slope = step(spsa, point.loss_of, batch())["slope"]
        return {name: slope * value for name, value in z.items()}

    figures = measure(point, draw, 400, 2.0, 1e-3)
    assert figures["cosine"] == pytest.approx(math.sqrt(2 / math.pi / d), abs=5 * 0.6 / math.sqrt(d) / 20)
    assert figures["right_sign"] == 1.0 and figures["own_cosine"] == pytest.approx(figures["cosine"])
    assert figures["variance"] == pytest.approx(d + 1, rel=0.6)
    assert figures["decrease"] == pytest.approx(1e-3 * norm(point.true) * figures["cosine"] / 2)


def test_the_gradient_itself_is_the_best_direction():
    point = LinearPoint()
    before = {name: p.detach().clone() for name, p in point.parameters.items()}
    figures = measure(point, lambda number: point.true, 2, 3.0, 1e-2)
    assert figures["cosine"] == pytest.approx(1) and figures["variance"] == pytest.approx(0, abs=1e-6)
    assert figures["decrease"] == pytest.approx(1e-2 * norm(point.true) / 3)
    uphill = measure(point, lambda number: {n: -v for n, v in point.true.items()}, 2, 3.0, 1e-2)
    assert uphill["cosine"] == pytest.approx(-1) and uphill["variance"] is None and uphill["right_sign"] == 0
    assert all(torch.equal(before[name], p) for name, p in point.parameters.items())


@pytest.fixture
def finished(prepared, make_run, tmp_path):
    run = make_run("zopro")
    store = RunStore(tmp_path / "runs" / run.name)
    execute(run, prepared, store, lambda state: None)
    return run, store


def test_a_run_directory_gives_the_run_back(finished):
    run, store = finished
    assert load_run(store.folder).hash == run.hash and load_run(store.folder).name == run.name


def test_candidates_on_a_real_run(finished, prepared):
    run, store = finished
    point = KeptState(run, prepared, store, 1, Settings(draws=2, rollouts=2))
    before = point.who.policy.state()
    saved = store.policy_update(0)
    found = {}
    for name, weight, draw, forwards in candidates(point):
        found[name, weight] = measure(point, draw, 2, forwards, point.step_length()), draw(0)
    assert len(found) == 3 + 2 * len(module.WEIGHTS)
    figures, _ = found["backpropagation", None]
    assert figures["own_cosine"] == pytest.approx(1) and figures["forwards"] == pytest.approx(2 + point.trained)
    _, estimate = found["previous update alone", 1.0]
    cosine = sum((estimate[n] * saved[n]).sum() for n in saved) / (norm(estimate) * norm(saved))
    assert abs(cosine) == pytest.approx(1, abs=1e-5)
    assert all(torch.equal(before[name], p.cpu()) for name, p in point.parameters.items())


def test_the_command_writes_table_and_plot(finished, prepared, monkeypatch, capsys):
    _, store = finished
    monkeypatch.setattr(module, "prepared_for", lambda run, cache, data: prepared)
    monkeypatch.setattr(module, "WEIGHTS", (0.0, 0.5))
    assert main(["diagnose", str(store.folder.parent), "--draws", "2"]) == 0
    out = store.folder.parent / "diagnose"
    assert {path.name for path in out.iterdir()} == {f"directions.{end}" for end in ("csv", "md", "png", "svg")}
    rows = pd.read_csv(out / "directions.csv")
    assert set(rows.estimator) == set(directions.LOOKS) and (rows.iteration == 1).all()
    assert "√(2/πd)" in (out / "directions.md").read_text(encoding="utf-8")
    assert "after iteration 1" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "words"), [
    (["--draws", "1"], "--draws takes 2 or more"), (["--method", "rloo"], "no finished run of rloo"),
    (["--method", "zopo"], "Did you mean zopro"), (["--task", "hh_rlhf"], "no finished run of zopro on hh_rlhf"),
])
def test_wrong_requests_are_named(finished, capsys, arguments, words):
    assert main(["diagnose", str(finished[1].folder.parent), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_damaged_run_directory_is_named(finished):
    _, store = finished
    stored = json.loads((store.folder / "config.json").read_text())
    del stored["config"]["loop"]
    (store.folder / "config.json").write_text(json.dumps(stored))
    with pytest.raises(Exception, match=r"config.json: not a run of this version"):
        load_run(store.folder)
    with pytest.raises(ConfigError):
        Settings(draws=0)


def test_the_models_of_a_run_are_taken_from_where_they_lie_now(make_run, toy_config, tmp_path):
    from benchmark.grid.finished import with_models
    from benchmark.plan.resolve import with_assignments
    from benchmark.plan.run import Run, model_digests

    place = tmp_path / "one" / "llama"
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(b"weights")
    config = with_assignments(toy_config, [f"model.path={place}"], [])
    run = Run("wmt20_mlqe", "zopro", 0, config, {"task_version": "1", "revision": "x", **model_digests(config)})
    (tmp_path / "config.json").write_text(json.dumps({"run": run.identity(), "config": run.resolved()}))
    read = load_run(tmp_path)
    assert read.hash == run.hash and read.config.model.path == "llama"
    moved = tmp_path / "two" / "llama"
    shutil.copytree(place, moved)
    assert with_models(read, str(moved), None).config.model.path == str(moved)
    assert with_models(read, None, None) == read
    (moved.parent / "mistral").mkdir()
    with pytest.raises(ConfigError, match="had another model"):
        with_models(read, str(moved.parent / "mistral"), None)
