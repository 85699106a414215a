"""Judges, the larger reward model among them, and the paper profile rehearsed with stand-in model folders."""

from __future__ import annotations

import json

import pytest
import torch

from benchmark.core.errors import DataError, ModelError
from benchmark.core.sections import Model
from benchmark.lm.loading import load_tokenizer, tiny_llama, train_tokenizer
from benchmark.plan.resolve import load_profile, with_assignments
from benchmark.plan.run import Run
from benchmark.plan.sources import read_tasks
from benchmark.run.judge import GoldJudge, LLMJudge
from benchmark.run.loop import execute
from benchmark.run.prepared import Prepared
from benchmark.run.store import RunStore
from benchmark.start.build import judge_kind, prepare
from tasks import WORLDS


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A folder that looks like a published causal language model: weights, config, tokenizer with pad = EOS."""
    folder = tmp_path_factory.mktemp("models") / "stand-in"
    tokenizer = train_tokenizer([f"row {i} of some plain text, 0 or 1" for i in range(200)], 400)
    model = Model(hidden_size=32, intermediate_size=64, layers=2, heads=2, kv_heads=1)
    tiny_llama(model, tokenizer, 1024, 0).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    return folder


def test_the_gold_judge_prefers_the_better_text():
    judge = GoldJudge(lambda prompt, text: len(text))
    assert judge.prefer(["p"] * 3, ["aa", "a", "a"], ["a", "aa", "b"]) == [1.0, 0.0, 0.5]


def test_the_llm_judge_does_not_depend_on_order_or_padding(stand_in):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(stand_in, dtype=torch.float32)
    judge = LLMJudge(model, AutoTokenizer.from_pretrained(stand_in), "Text", "Summary", 4)
    prompts, first, second = ["short", "a much longer prompt of plain text"], ["row 1", "row"], ["of", "some text"]
    forward, backward = judge.prefer(prompts, first, second), judge.prefer(prompts, second, first)
    assert all(0 <= p <= 1 for p in forward)
    assert [a + b for a, b in zip(forward, backward, strict=True)] == pytest.approx([1, 1], abs=1e-5)
    assert judge.prefer(prompts[:1], first[:1], second[:1]) == pytest.approx(forward[:1], abs=1e-4)
    assert judge.prefer(prompts, first, first) == pytest.approx([0.5, 0.5], abs=1e-5)


@pytest.mark.parametrize("template", [None, "{{ messages[0]['content'] }}\nanswer:"])
def test_the_llm_judge_reads_the_digits_as_they_stand_after_the_question(template):
    """A vocabulary in which a space and a digit are one token: " 0" after "Answer:", never a lone "0"."""
    tokenizer = train_tokenizer(["Answer: 0", "Answer: 1", "answer:0 answer:1"] * 20, 400)
    tokenizer.chat_template = template
    model = tiny_llama(Model(hidden_size=32, intermediate_size=64, layers=1, heads=2, kv_heads=1), tokenizer, 512, 0)
    judge = LLMJudge(model, tokenizer, "Text", "Summary", 4)
    space = "" if template else "Ġ"
    assert tokenizer.convert_ids_to_tokens(judge.answers) == [f"{space}0", f"{space}1"]
    seen = []
    model.register_forward_pre_hook(lambda _, args, rows: seen.append(rows["input_ids"]), with_kwargs=True)
    judge.prefer(["p"], ["a"], ["b"])
    whole = judge._question("p", "a", "b") + "1"
    assert [*seen[0][0].tolist(), judge.answers[1]] == tokenizer(whole)["input_ids"]


def test_a_judge_that_cannot_write_the_digits_is_refused():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "Answer": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="no token for each of the digits"):
        LLMJudge(torch.nn.Linear(1, 1), PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"), "T", "S", 4)


def test_the_llm_judge_counts_positions_without_padding():
    """A model with a table of positions, whose rows would otherwise depend on the longest of the batch."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = train_tokenizer(["Answer: 0", "Answer: 1"] * 20, 400)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=1024,
                                       initializer_range=0.5, bos_token_id=1, eos_token_id=2))
    judge = LLMJudge(model, tokenizer, "Text", "Summary", 4)
    both = judge.prefer(["p", "much longer " * 9], ["a", "b"], ["c", "d"])
    assert judge.prefer(["p"], ["a"], ["c"]) == pytest.approx(both[:1], abs=1e-5)


def test_a_missing_model_says_what_to_do():
    for path in ("no-such-owner/no-such-model", "/no/such/folder"):
        with pytest.raises(ModelError, match="--model"):
            load_tokenizer(Model(path=path))


def test_the_judge_is_resolved_from_the_data(toy_config):
    assert judge_kind(toy_config, True) == "gold" and judge_kind(toy_config, False) == "reward_model"
    with pytest.raises(DataError, match="judge.kind=reward_model"):
        judge_kind(with_assignments(toy_config, ["judge.kind=gold"], []), False)


@pytest.mark.parametrize("task", WORLDS)
def test_the_paper_profile_runs_end_to_end_on_a_stand_in(task, stand_in, tmp_path):
    """bf16 base, float32 LoRA, LoRA SFT and reward model, LLM judge, published hyperparameters; fewer rows."""
    config = with_assignments(load_profile("paper"), [
        f"model.path={stand_in}", f"judge.path={stand_in}", "data.source=bundled", "data.train_rows=100",
        "data.heldout_rows=30", "sft.epochs=0.2", "reward_model.epochs=0.2", "refine_pairs=8", "refine_epochs=1",
        "validation_prompts=4", "test_prompts=4", "evaluation.points=2", "iterations=2", "device=cpu", "workers=0",
        "threads=1", "forward_batch=16", "budget.kind=updates", "budget.limit=2", "max_prompt_tokens=400",
        "max_new_tokens=6", "sequences_per_update=8", "rank=4"], [])
    source = read_tasks(config, [task])[task]
    folder = tmp_path / "cache" / f"{task}__s0__paper"
    prepare(folder, config, task, source.data, 0, lambda state: None)
    for method in ("rloo", "zopro"):
        prepared, store = Prepared(folder, config, task), RunStore(tmp_path / method)
        summary = execute(Run(task, method, 0, config, source.versions()), prepared, store, lambda state: None)
        assert summary["status"] == "done"
        assert 0 <= summary["final"]["test"]["win_rate"] <= 1
    saved = json.loads((store.folder / "environment.json").read_text())
    assert saved["preparation"]["judge"] == {"kind": "llm"} and str(stand_in.parent) not in json.dumps(saved)
    assert all(tensor.dtype == torch.float32 for tensor in store.policy_update(0).values())


def test_a_larger_reward_model_judges_where_there_is_no_gold(toy_config, toy_sources, tmp_path):
    from dataclasses import replace

    config = with_assignments(toy_config, ["judge.kind=reward_model", "judge.steps=4"], [])
    data = replace(toy_sources["wmt20_mlqe"].data, gold=None)
    prepared = prepare(tmp_path / "wmt20_mlqe__s0__judge", config, "wmt20_mlqe", data, 0, lambda state: None)
    assert prepared.info["judge"]["kind"] == "reward_model"
    wins = prepared.judge().prefer(["English: the dog"] * 2, ["der Hund", "der"], ["der Hund", "die Hund"])
    assert wins[0] == 0.5 and wins[1] in (0.0, 1.0)
