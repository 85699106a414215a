"""The base model that comes with the suite: what it was made from, that it is what it says, and what starts from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from benchmark.cli import main
from benchmark.core import paths, provenance
from benchmark.core.paths import BASE_MODEL, BUNDLED, folder_name
from benchmark.core.sections import Model
from benchmark.lm.loading import load_causal_lm, load_scalar_model, load_tokenizer, revision_of
from benchmark.plan.resolve import with_assignments
from benchmark.plan.run import Run, load_run, model_digests
from benchmark.run.loop import execute
from benchmark.run.prepared import Prepared, preparation_key
from benchmark.run.store import RunStore
from benchmark.start import pretrain as module
from benchmark.start.build import prepare
from benchmark.start.check import check_model
from benchmark.start.pretrain import PROVENANCE, Recipe, pretrain, texts_of
from tasks import WORLDS, get_task
from tasks.adapter import prompt_key
from tests.conftest import TASK

SMALL = Recipe(rows=60, steps=3, batch=2, positions=160,
               model=Model(vocabulary=400, hidden_size=32, intermediate_size=64, layers=1, heads=2, kv_heads=1))
SHIPPED = Model(path=BUNDLED)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    pretrain(folder, SMALL, lambda share: None)
    return folder


def test_the_shipped_files_are_those_that_were_made():
    said = json.loads((BASE_MODEL / PROVENANCE).read_text(encoding="utf-8"))
    files = {path.name: path.read_bytes() for path in BASE_MODEL.iterdir() if path.name != PROVENANCE}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == said["files"]
    assert sum(map(len, files.values())) < 4e6
    model = load_causal_lm(BUNDLED, SHIPPED, torch.float32)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(p.numel() for p in model.parameters()) == said["parameters"]
    assert said["recipe"] == json.loads(json.dumps(module.described(Recipe())))
    # A minor version changes what is made of rows, not the rows.
    assert {task: version.split(".")[0] for task, version in said["versions"]["tasks"].items()} == {
        task: get_task(task).version.split(".")[0] for task in WORLDS}


def test_the_shipped_model_knows_the_worlds():
    """Perplexity of unseen text far below that of a model that knows no more than how often each word comes."""
    tokenizer, model = load_tokenizer(SHIPPED), load_causal_lm(BUNDLED, SHIPPED, torch.float32).eval()
    for task in WORLDS:
        adapter = get_task(task)
        rows = adapter.load("bundled", rows={"train": 100, "held_out": 60}).prompts["test"][:12]
        texts = [row.text + adapter.cue + " " + row.reference for row in rows]
        with torch.no_grad():
            losses = [float(model(ids, labels=ids).loss) for text in texts
                      for ids in [torch.tensor([[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]])]]
        assert sum(losses) / len(losses) < 2.5, task


@pytest.mark.parametrize("task", WORLDS)
def test_no_held_out_prompt_is_in_the_text(task):
    recipe = replace(SMALL, rows=1_500)
    held_out = {prompt_key(prompt.text) for split in ("validation", "test")
                for prompt in get_task(task).load("bundled", seed=module.ROWS_SEED).prompts[split]}
    assert len(held_out) > 150 and held_out <= module.held_out_prompts(task)
    assert not held_out & {prompt_key(prompt) for prompt, _ in texts_of(task, recipe)}


def test_a_prompt_that_chance_repeats_is_left_out(monkeypatch):
    recipe = replace(SMALL, rows=2_000)
    kept = texts_of("hh_rlhf", recipe)
    monkeypatch.setattr(module, "held_out_prompts", lambda task: frozenset())
    assert len(texts_of("hh_rlhf", recipe)) > len(kept)
    with pytest.raises(ValueError, match="tasks' own rows"):
        texts_of("hh_rlhf", replace(recipe, seed=module.ROWS_SEED))


def test_the_same_recipe_makes_the_same_model(small, tmp_path):
    again = pretrain(tmp_path, SMALL, lambda share: None)
    assert again == json.loads((small / PROVENANCE).read_text(encoding="utf-8"))
    other = pretrain(tmp_path / "other", replace(SMALL, seed=2), lambda share: None)
    assert other["files"]["model.safetensors"] != again["files"]["model.safetensors"]


def test_the_command_writes_a_new_folder_only(tmp_path, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(module, "pretrain", lambda folder, recipe, report: made.append(recipe) or
                        {"parameters": 7, "loss": 1.0})
    assert main(["pretrain", "--out", str(tmp_path / "new"), "--steps", "9", "--seed", "4"]) == 0
    assert made == [replace(Recipe(), steps=9, seed=4)]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert main(["pretrain", "--out", str(tmp_path / "full")]) == main(["pretrain", "--out", "x", "--seed", "0"]) == 2
    answer = capsys.readouterr().err
    assert "there is something already" in answer and "--seed 0" in answer and len(made) == 1


def test_the_word_bundled_is_that_model_wherever_the_user_is(tmp_path, monkeypatch, toy_config, toy_sources):
    (tmp_path / BUNDLED).mkdir()
    (tmp_path / BUNDLED / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = with_assignments(toy_config, [f"model.path={BUNDLED}"], [])
    versions = {**toy_sources[TASK].versions(), **model_digests(config)}
    assert versions["model_digest"] == provenance.folder_digest(BASE_MODEL)
    check_model(config)
    assert folder_name(BUNDLED) == BUNDLED and revision_of(config.model) is None
    run = Run(TASK, "rloo", 0, config, versions)
    store = RunStore(tmp_path / "run")
    store.start({"run": run.identity(), "config": run.resolved()}, {})
    assert load_run(store.folder).hash == run.hash
    others = [Run(TASK, "rloo", 0, toy_config, toy_sources[TASK].versions()),
              Run(TASK, "rloo", 0, config, {**versions, "model_digest": "0"})]
    assert len({run.hash, *(other.hash for other in others)}) == 3
    keys = {preparation_key(each.config, TASK, 0, each.versions) for each in (run, *others)}
    assert len(keys) == 3


def test_every_seed_starts_from_the_base_model_and_goes_its_own_way(small, tmp_path, monkeypatch, toy_config,
                                                                     toy_sources):
    monkeypatch.setattr(paths, "BASE_MODEL", small)
    config = with_assignments(toy_config, [f"model.path={BUNDLED}", "sft.steps=2", "sft.lr=1e-9", "judge.steps=2",
                                           "judge.kind=reward_model", "reward_model.steps=2"], [])
    made = [prepare(tmp_path / str(seed), config, TASK, toy_sources[TASK].data, seed, lambda state: None)
            for seed in (0, 1)]
    weights = [load_causal_lm(each.folder / "policy", config.model, torch.float32).state_dict() for each in made]
    base = load_causal_lm(BUNDLED, config.model, torch.float32).state_dict()
    for name, tensor in base.items():
        for each in weights:
            torch.testing.assert_close(each[name], tensor, rtol=0, atol=1e-6)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in base)
    assert made[0].encoder.tokenizer.get_vocab() == load_tokenizer(config.model).get_vocab()
    judge = load_scalar_model(made[0].folder / "judge", config.model, torch.float32, 0)
    assert judge.config.hidden_size > config.model.hidden_size == 32
    run = Run(TASK, "rloo", 0, with_assignments(config, ["budget.limit=1"], []),
              {**toy_sources[TASK].versions(), **model_digests(config)})
    execute(run, Prepared(made[0].folder, config, TASK), RunStore(tmp_path / "run"), lambda state: None)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))
    assert environment["model"]["path"] == BUNDLED and environment["model"]["revision"] is None
