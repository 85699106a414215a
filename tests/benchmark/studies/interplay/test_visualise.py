"""The command: what it writes, the same bytes twice, what it does without the extra, and the states that runs keep."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.cli import main
from benchmark.run.loop import execute
from benchmark.run.store import RunStore
from benchmark.studies.interplay import embed, quadratic_demo
from benchmark.studies.interplay.analysis import Picture
from tests.benchmark.studies.interplay.world import SIZE, at, factors, moved, states, write_run


@pytest.fixture
def bare(monkeypatch):
    """As if nothing of the extra were installed."""
    monkeypatch.setattr(embed, "missing", lambda: list(embed.EXTRA))


@pytest.fixture
def quick(bare, monkeypatch):
    """And without figures, which take most of the time."""
    monkeypatch.setattr("benchmark.studies.interplay.save", lambda figure, stem: [])


@pytest.fixture
def folder(tmp_path):
    """Two methods on toy LoRA factors in three iterations."""
    rng = np.random.default_rng(0)
    for method in ("rloo", "zopro"):
        paths = []
        for _ in range(2):
            path = [factors(rng)]
            for _ in range(3):
                path.append(moved(path[-1], rng, 0.1))
            paths.append(path)
        write_run(tmp_path / "runs", *paths, method=method, rank=3)
    return tmp_path / "runs"


def test_everything_is_written_without_the_extra_and_twice_the_same(folder, bare, tmp_path, capsys):
    assert main(["visualise", str(folder), "--method", "zopro"]) == 0
    said = capsys.readouterr().out
    assert "ZOPrO, weight change" in said and "not explained by chance" in said
    assert "without scikit-learn, umap-learn there is no t-SNE and no UMAP." in said
    assert "pip install -c constraints.txt -e '.[visualise]'" in said
    out = folder / "visualise"
    figures = ["angles_hh_rlhf", "bowl", "layers_hh_rlhf", "shapes_hh_rlhf", "trajectories_hh_rlhf_zopro_s0"]
    expected = {f"{name}.{end}" for name in figures for end in ("png", "svg")}
    assert {path.name for path in out.iterdir()} == expected | {
        "interplay.html", *(f"measures.{end}" for end in ("csv", "json", "md"))}
    (out / "trajectories_of_an_earlier_call.png").touch()
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.stat().st_size}
    assert main(["visualise", str(folder), "--method", "zopro"]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_tables_hold_the_same_numbers(folder, quick):
    assert main(["visualise", str(folder), "--method", "zopro"]) == 0
    out = folder / "visualise"
    rows = pd.read_csv(out / "measures.csv")
    assert set(rows.method) == {"zopro"} and set(rows.weights) == {"tensors", "weight change"}
    stored = json.loads((out / "measures.json").read_text(encoding="utf-8"))
    assert len(stored["measures"]) == len(rows) and stored["runs"][0]["iterations"] == 3
    line = next(s for s in stored["summary"] if s["relation"] == "policy" and s["weights"] == "weight change")
    some = rows[(rows.relation == "policy") & (rows.weights == "weight change") & (rows.measure == "cosine")
                & (rows.layer == "all")]
    assert line["degrees"] == pytest.approx(some.degrees.mean(), rel=1e-6) and line["points"] == 2
    text = (out / "measures.md").read_text(encoding="utf-8")
    assert f"{some.degrees.mean():.2f}°" in text and line["verdict"] in text
    assert "Reduced protocol (1 seed), not comparable" in text


def test_one_layer_goes_into_a_folder_of_its_own(folder, quick):
    assert main(["visualise", str(folder), "--layer", "1"]) == 0
    rows = pd.read_csv(folder / "visualise" / "layer_1" / "measures.csv")
    assert set(rows.layer.astype(str)) == {"1"}
    assert "layer 1 only" in (folder / "visualise" / "layer_1" / "measures.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("arguments", "words"), [
    (["--layer", "9"], "no layer '9' is trained. Known: 0, 1"), (["--method", "ppo"], "no finished run of ppo"),
    (["--method", "zopo"], "Did you mean zopro"), (["--seeds", "4"], "no finished run"),
    (["--layer", "../1"], "expected all, the number of a layer, or outside"),
])
def test_wrong_requests_are_named(folder, quick, capsys, arguments, words):
    assert main(["visualise", str(folder), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_runs_without_adapters_are_left_out_by_name(folder, quick, capsys):
    run, store = write_run(folder, states([at(0)]), states([at(0)], seed=1), method="dpo")
    store.tidy("curves")
    assert main(["visualise", str(folder), "--method", "rloo,dpo"]) == 0
    assert f"left out: {run.name} has kept no adapters" in capsys.readouterr().out
    assert main(["visualise", str(folder), "--method", "dpo"]) == 2
    assert "no adapters (execution.keep=curves" in capsys.readouterr().err
    assert main(["visualise", str(folder / "nowhere")]) == 2


def test_a_run_that_diverged_in_its_first_iteration_is_left_out(folder, quick, capsys):
    run, store = write_run(folder, states([at(0)]), states([at(0)], seed=1), method="dpo")
    shutil.rmtree(store.folder / "adapters" / "iteration_1")
    assert main(["visualise", str(folder)]) == 0
    assert f"left out: {run.name}" in capsys.readouterr().out
    assert set(pd.read_csv(folder / "visualise" / "measures.csv").method) == {"rloo", "zopro"}


def test_one_iteration_of_whole_models_without_refinement_is_drawn(tmp_path, bare, capsys):
    """A reward model that stays as it is: no angle to it, and no successor."""
    write_run(tmp_path, states([at(0)]), states([np.zeros(SIZE)], seed=1))
    assert main(["visualise", str(tmp_path)]) == 0
    said = (tmp_path / "visualise" / "measures.md").read_text(encoding="utf-8")
    assert "one of the two did not move" in said and "These runs trained no LoRA factors" in said
    rows = pd.read_csv(tmp_path / "visualise" / "measures.csv")
    assert set(rows.weights) == {"tensors"} and "Procrustes disparity" not in set(rows.measure)


def test_runs_with_and_without_lora_factors_share_figures(folder, monkeypatch):
    """What has no ΔW is measured on its tensors, one vector here as of a norm, and the figures say so."""
    notes = []
    monkeypatch.setattr("benchmark.studies.interplay.save", lambda figure, stem: notes.append(
        " ".join(" ".join(text.get_text() for text in figure.texts).split())) or [])
    rng = np.random.default_rng(1)
    paths = [[{"model.norm.weight": torch.tensor(rng.standard_normal(16))} for _ in range(4)] for _ in range(2)]
    write_run(folder, *paths, method="mezo")
    assert main(["visualise", str(folder)]) == 0
    rows = pd.read_csv(folder / "visualise" / "measures.csv")
    assert set(rows[rows.method == "mezo"].weights) == {"tensors"} and set(rows.weights) == {"tensors", "weight change"}
    said = "1 of these 3 runs trained no LoRA factors: they have no ΔW"
    assert said in (folder / "visualise" / "measures.md").read_text(encoding="utf-8")
    assert sum(said in note for note in notes) == 3


def test_a_model_with_code_of_its_own_is_not_loaded_and_needs_no_trust(folder, quick):
    path = next(folder.glob("*__zopro__*")) / "config.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["config"]["model"]["trust_remote_code"] = True
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert main(["visualise", str(folder), "--method", "zopro"]) == 0


def test_a_link_in_place_of_the_folder_is_refused_and_files_of_others_are_kept(folder, quick, tmp_path, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "bowl.py").write_text("kept")
    (folder / "visualise").symlink_to(elsewhere)
    for layer in ("all", "1"):
        assert main(["visualise", str(folder), "--layer", layer]) == 2
        assert "is a link" in capsys.readouterr().err
    assert [path.name for path in elsewhere.iterdir()] == ["bowl.py"]
    assert main(["visualise", str(folder), "--out", str(elsewhere)]) == 0
    assert (elsewhere / "bowl.py").read_text() == "kept" and (elsewhere / "measures.csv").is_file()


def test_one_seed_twice_is_refused(folder, quick, capsys):
    write_run(folder, states([at(0)]), states([at(0)], seed=1), method="rloo")
    assert main(["visualise", str(folder)]) == 2
    assert "the same method and seed with different settings" in capsys.readouterr().err


def test_seeds_with_different_settings_are_refused(folder, quick, capsys):
    write_run(folder, states([at(0)]), states([at(0)], seed=1), method="rloo", seed=1, rank=1)
    assert main(["visualise", str(folder)]) == 2
    assert "seeds of one method with different settings" in capsys.readouterr().err


def picture(count=5):
    steps = np.stack([at(10 * k) for k in range(count)] + [at(90 + 3 * k, 0.1) for k in range(count)])
    return Picture(steps @ steps.T, np.full((2 * count, 2 * count), 0.03), count, tuple(range(count + 1)))


def test_pca_of_a_plane_is_the_plane():
    """Both paths lie in one plane, so two components hold everything: angles, and lengths in units of the largest."""
    found = embed.embed(picture(), "PCA", 2)
    assert sum(found.explained) == pytest.approx(1)
    assert found.policy[0] == pytest.approx([0, 0]) and found.reward[0] == pytest.approx([0, 0])
    for points in (found.policy, found.reward):
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
    one, other = found.policy[1], found.reward[1]
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) == pytest.approx(0, abs=1e-9)
    turn = found.policy[2] - found.policy[1]
    assert turn @ one / np.linalg.norm(turn) / np.linalg.norm(one) == pytest.approx(np.cos(np.radians(10)))


def test_the_random_twin_has_the_norms_and_no_angles():
    twin = embed.chance(picture(), "name")
    assert np.diag(twin.gram) == pytest.approx(np.diag(picture().gram), rel=0.05)
    cosine = twin.gram / np.sqrt(np.outer(np.diag(twin.gram), np.diag(twin.gram)))
    assert np.abs(cosine - np.eye(10)).max() < 5 * 0.03
    assert np.array_equal(twin.gram, embed.chance(picture(), "name").gram)


@pytest.mark.parametrize(("method", "module"), [("t-SNE", "sklearn"), ("UMAP", "umap")])
def test_embeddings_repeat(method, module):
    pytest.importorskip(module, reason="needs the extra visualise")
    for dims in (2, 3):
        first, second = (embed.embed(picture(), method, dims) for _ in range(2))
        assert first.policy.shape == (6, dims) and first.reward.shape == (6, dims)
        assert np.isfinite(first.policy).all() and np.array_equal(first.policy, second.policy)


def test_bowl_paths_are_those_of_the_estimators():
    flat = {path.method: path for path in quadratic_demo.paths(2)}
    warm = quadratic_demo.UPDATES + 1
    for name in ("zopro", "zopro-no-projection"):  # the first iteration is backpropagation
        assert np.array_equal(flat[name].points[:warm], flat["rloo"].points[:warm])
    assert flat["rloo"].losses[-1] < 0.02 * flat["rloo"].losses[0]
    # With the reward model's update at a right angle, ZOPrO's noise in a plane lies along the previous update.
    line = flat["zopro"].points[quadratic_demo.UPDATES] - flat["zopro"].points[0]
    later = flat["zopro"].points[warm:] - flat["zopro"].points[quadratic_demo.UPDATES]
    off = later - np.outer(later @ line, line) / (line @ line)
    assert np.abs(off).max() < 1e-4 < np.abs(later).max()
    many = {path.method: path for path in quadratic_demo.paths(1000)}
    assert many["rloo"].losses[-1] < many["zopro"].losses[-1] < many["mezo"].losses[-1] < many["mezo"].losses[0]


def test_runs_keep_the_policy_within_iterations_and_nothing_else_changes(prepared, make_run, tmp_path):
    found = {}
    for every in (0, 1):
        run = make_run("rloo", f"execution.keep_every={every}")
        store = RunStore(tmp_path / str(every) / run.name)
        execute(run, prepared, store, lambda state: None)
        curve = [json.loads(line) for line in (store.folder / "curve.jsonl").read_text().splitlines()]
        found[every] = run, store, [(line["update"], line["metrics"]) for line in curve], store.digests()
    plain, kept = found[0], found[1]
    assert plain[0].name == kept[0].name and plain[2] == kept[2]
    assert plain[3].items() <= kept[3].items()
    # Four updates in two iterations; the last of each is the state that is kept anyway.
    assert sorted(kept[3].keys() - plain[3].keys()) == [
        "iteration_0/policy_update_0000001.safetensors", "iteration_1/policy_update_0000003.safetensors"]
    from benchmark.studies.interplay.analysis import analyse

    assert list(analyse(*kept[:2]).rows.query("relation == 'policy updates'")["iteration"]) == [1, 1, 2]
