"""Hand-made trajectories with known answers, through the reader and every measure; and what the reader refuses."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from benchmark.core.errors import BenchmarkError, ConfigError, DataError
from benchmark.studies.interplay import trajectories
from benchmark.studies.interplay.analysis import ALL, FACTORS, analyse
from benchmark.studies.interplay.sentences import beyond_chance, often_outside, scores, verdict
from benchmark.studies.interplay.trajectories import OUTSIDE, Trajectory
from tests.benchmark.studies.interplay.world import (
    SIZE,
    at,
    factors,
    moved,
    plane,
    rewrite,
    states,
    tensors,
    unit,
    write_run,
)


def measured(folder, policy, reward, **more):
    return analyse(*write_run(folder, states(policy), states(reward, seed=1), **more)).rows


def of(rows, measure, relation, layer=ALL):
    return rows[(rows.measure == measure) & (rows.relation == relation) & (rows.layer == layer)]


def test_parallel(tmp_path):
    """Policy and reward model step along one line, the reward model twice as far."""
    first, _ = plane()
    steps = [0.5 * first, 1.0 * first, 0.2 * first, 0.7 * first]
    rows = measured(tmp_path, steps, [2 * s for s in steps])
    for relation in ("same", "next", "policy", "reward"):
        assert of(rows, "cosine", relation).value.to_numpy() == pytest.approx(1)
        assert of(rows, "cosine", relation).degrees.to_numpy() == pytest.approx(0, abs=1e-3)
        assert verdict(of(rows, "cosine", relation)).startswith("alike beyond chance")
    # All pairs of iterations are one and the same pair of directions: their mean scatters as a single one does.
    one, mean = of(rows, "cosine", "same"), of(rows, "cosine", "unpaired")
    assert mean.null_high.item() == pytest.approx(one.null_high.iloc[0])
    assert of(rows, "pearson", "same").value.to_numpy() == pytest.approx(1)
    assert of(rows, "distance correlation", "same").value.to_numpy() == pytest.approx(1)
    assert of(rows, "norm", "policy").value.to_numpy() == pytest.approx([0.5, 1.0, 0.2, 0.7])
    assert of(rows, "norm", "reward").value.to_numpy() == pytest.approx([1.0, 2.0, 0.4, 1.4])
    assert of(rows, "directions", "policy").value.item() == pytest.approx(1)
    assert of(rows, "Procrustes disparity", "trajectories").value.item() == pytest.approx(0, abs=1e-7)
    assert of(rows, "distance correlation", "trajectories").value.item() == pytest.approx(1)


def test_orthogonal(tmp_path):
    """Every update at a right angle to every other, exactly: closer to 90° than chance, and so explained by it."""
    basis = np.linalg.qr(np.stack([unit(k) for k in range(8)], axis=1))[0].T
    rows = measured(tmp_path, list(basis[:4]), list(3 * basis[4:]))
    for relation in ("same", "next", "policy", "reward"):
        assert of(rows, "cosine", relation).degrees.to_numpy() == pytest.approx(90)
        assert "chance explains it" in verdict(of(rows, "cosine", relation))
    assert of(rows, "directions", "policy").value.item() == pytest.approx(4)
    assert of(rows, "Procrustes disparity", "trajectories").value.item() == pytest.approx(0, abs=1e-7)


def test_rotating(tmp_path):
    """The policy turns by 20° an iteration, the reward model runs 30° ahead and turns by 50°."""
    rows = measured(tmp_path, [at(20 * k) for k in range(4)], [at(30 + 50 * k) for k in range(4)])
    assert of(rows, "cosine", "policy").degrees.to_numpy() == pytest.approx(20)
    assert of(rows, "cosine", "reward").degrees.to_numpy() == pytest.approx(50)
    assert of(rows, "cosine", "same").degrees.to_numpy() == pytest.approx([30, 60, 90, 120])
    assert of(rows, "cosine", "next").degrees.to_numpy() == pytest.approx([10, 40, 70])
    apart = [np.cos(np.radians(30 + 50 * j - 20 * i)) for i in range(4) for j in range(4) if j not in (i, i - 1)]
    assert of(rows, "cosine", "unpaired").value.item() == pytest.approx(np.mean(apart))
    turning = np.linalg.eigvalsh([[np.cos(np.radians(20 * (i - j))) for j in range(4)] for i in range(4)])
    assert of(rows, "directions", "policy").value.item() == pytest.approx(16 / (turning**2).sum())


def test_random(tmp_path):
    """Independent random updates: cosines scatter as the null says, and chance explains all of it."""
    rng = np.random.default_rng(7)
    steps = [rng.standard_normal(SIZE) for _ in range(40)]
    rows = measured(tmp_path, steps[:20], steps[20:])
    some = [of(rows, "cosine", relation) for relation in ("same", "next", "policy", "reward")]
    found = np.concatenate([scores(each) for each in some])
    assert len(found) == 77 and found.std() == pytest.approx(1, abs=0.25) and abs(found.mean()) < 3 / np.sqrt(77)
    assert not any(beyond_chance(each) for each in some)
    assert of(rows, "cosine", "same").null_high.iloc[0] / 1.959964 == pytest.approx(1 / np.sqrt(SIZE), rel=0.15)
    for measure in ("Procrustes disparity", "distance correlation"):
        assert abs(scores(of(rows, measure, "trajectories")).item()) < 3
    assert not often_outside(of(rows, "distance correlation", "same"))


def test_chance_heeds_where_the_norm_is(tmp_path):
    """Two updates that live in the 16 entries of one tensor: their cosine scatters by 1/√16, not by 1/√d."""
    steps = [np.concatenate([np.zeros(SIZE - 16), unit(k, 16)]) for k in range(4)]
    rows = measured(tmp_path, steps[:2], steps[2:])
    assert of(rows, "cosine", "same").null_high.to_numpy() == pytest.approx(1.959964 / 4)


def test_layers_are_told_apart(tmp_path):
    """Parallel in layer 0, opposed in layer 1, and nothing moves outside."""
    first, second = np.zeros(SIZE), np.zeros(SIZE)
    first[:540], second[540:780] = unit(1, 540), unit(2, 240)
    run, store = write_run(tmp_path, states([first + second] * 2), states([first - second] * 2, seed=1))
    rows = analyse(run, store).rows
    assert of(rows, "cosine", "same", "0").value.to_numpy() == pytest.approx(1)
    assert of(rows, "cosine", "same", "1").value.to_numpy() == pytest.approx(-1)
    assert of(rows, "cosine", "same", OUTSIDE).value.isna().all()
    assert of(rows, "cosine", "same").value.to_numpy() == pytest.approx(0, abs=1e-12)
    alone = analyse(run, store, "1")
    assert alone.parameters == 240 and alone.layers == ["1"]
    assert of(alone.rows, "cosine", "same").value.to_numpy() == pytest.approx(-1)


def test_what_did_not_move_has_no_angle(tmp_path):
    rows = measured(tmp_path, [at(0), at(10)], [np.zeros(SIZE)] * 2)
    assert of(rows, "cosine", "same").value.isna().all()
    assert verdict(of(rows, "cosine", "same")) == "one of the two did not move"
    assert of(rows, "cosine", "policy").degrees.to_numpy() == pytest.approx(10)
    assert of(rows, "norm", "reward").value.to_numpy() == pytest.approx(0)


def test_states_within_iterations_are_used(tmp_path):
    """Two updates of an iteration at 40° to each other make up its update."""
    steps, kept = [at(0) + at(40), at(80, 2.0)], states([at(0) + at(40), at(80, 2.0)])
    middle = tensors(np.concatenate([v.numpy().ravel() for v in kept[0].values()]) + at(0))
    run, store = write_run(tmp_path, kept, states(steps, seed=1), between={(0, 7): middle})
    found = analyse(run, store)
    fine = of(found.rows, "cosine", "policy updates")
    assert fine.degrees.to_numpy() == pytest.approx([40, 40]) and list(fine.iteration) == [1, 1]
    assert fine["update"].iloc[0] == 7 and fine["update"].isna().iloc[1]
    assert of(found.rows, "norm", "policy").value.to_numpy() == pytest.approx([2 * np.cos(np.radians(20)), 2])
    assert found.pictures[FACTORS].policy == 3 and found.pictures[FACTORS].marks == (0, 2, 3)


def test_blocks_are_small_and_hold_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "BLOCK_ENTRIES", 200)
    run, store = write_run(tmp_path, states([at(0), at(20)]), states([at(50), at(60)], seed=1))
    trajectory = Trajectory(store.folder)
    name, shape = "model.layers.0.up_proj.weight", (30, 10)
    blocks = list(trajectory.blocks(name, shape))
    assert len(blocks) == 10 and max(block.size for _, block in blocks) <= 200
    whole = np.stack([trajectory.tensor(path, name).ravel() for path in (*trajectory.policy, *trajectory.reward)])
    assert np.array_equal(np.concatenate([block for _, block in blocks], axis=1), whole)
    assert [start for start, _ in blocks] == list(range(0, 300, 30))
    rows = analyse(run, store).rows
    assert of(rows, "cosine", "same").degrees.to_numpy() == pytest.approx([50, 40])


def test_what_only_one_model_trains_is_left_out(tmp_path):
    _, store = write_run(tmp_path, states([at(0)]), states([at(90)], seed=1))
    assert "score.weight" not in [module.name for module in Trajectory(store.folder).modules]
    rng = np.random.default_rng(0)
    start = factors(rng)
    paths = [[start, moved(start, rng, 0.1)] for _ in range(2)]
    _, store = write_run(tmp_path / "lora", *paths, rank=3)
    modules = Trajectory(store.folder).modules
    assert [(m.name, m.layer, m.lora) for m in modules] == [
        ("model.layers.0.q_proj", "0", True), ("model.layers.0.up_proj", "0", True),
        ("model.layers.1.q_proj", "1", True)]


def broken(store, how):
    kept = store.folder / "adapters"
    first = states([at(0)])[0]
    if how == "gone":
        shutil.rmtree(kept)
    elif how == "one":
        shutil.rmtree(kept / "iteration_1")
    elif how == "hole":
        (kept / "iteration_1").rename(kept / "iteration_3")
    elif how == "cut":
        path = kept / "iteration_1" / "reward.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "missing":
        (kept / "iteration_1" / "policy.safetensors").unlink()
    elif how == "odd":
        (kept / "iteration_1 (copy)").mkdir()
    elif how == "update":
        (kept / "iteration_0" / "policy_update_x.safetensors").touch()
    elif how == "link":
        path = kept / "iteration_1" / "policy.safetensors"
        outside = path.rename(store.folder.parent / "elsewhere.safetensors")
        path.symlink_to(outside)
    elif how == "other":
        rewrite(store, "iteration_1/policy.safetensors", {**first, "model.norm.weight": torch.ones(3)})
    else:
        first["model.norm.weight"][3] = float("inf")
        rewrite(store, "iteration_1/policy.safetensors", first)


@pytest.mark.parametrize(("how", "error", "words"), [
    ("gone", ConfigError, "no adapters"), ("one", ConfigError, "at least two in a row"),
    ("hole", ConfigError, r"iterations \[0, 3\]"), ("cut", DataError, "reward.safetensors: cannot be read"),
    ("missing", DataError, "policy.safetensors: cannot be read"),
    ("odd", DataError, r"iteration_1 \(copy\): a run keeps nothing of that name"),
    ("update", DataError, "policy_update_x.safetensors: a run keeps"), ("link", BenchmarkError, "link that leads out"),
    ("other", DataError, "tensor model.norm.weight is not as in"),
    ("infinite", DataError, "tensor model.norm.weight holds values that are not finite"),
])
def test_unusable_adapters_are_named(tmp_path, how, error, words):
    run, store = write_run(tmp_path, states([at(0)]), states([at(0)], seed=1))
    broken(store, how)
    with pytest.raises(error, match=words):
        analyse(run, store)


def test_an_unknown_layer_is_named_with_those_there_are(tmp_path):
    run, store = write_run(tmp_path, states([at(0)]), states([at(0)], seed=1))
    with pytest.raises(ConfigError, match=r"no layer '7' is trained. Known: 0, 1, outside"):
        analyse(run, store, "7")
