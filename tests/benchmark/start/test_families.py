"""Causal language models that people have, tiny and random: each is prepared, trained, sampled, scored and resumed.

The quirks that published folders have are spread over them: tokenizers whose padding is EOS or that have none, without
BOS, or that add it themselves; vocabularies padded to a round number; tied embeddings; several shards; bfloat16.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from benchmark.core.meter import Meter
from benchmark.core.seeding import global_seed
from benchmark.lm.loading import train_tokenizer
from benchmark.plan.resolve import with_assignments
from benchmark.plan.run import Run
from benchmark.run.loop import execute
from benchmark.run.prepared import Prepared
from benchmark.run.store import RunStore
from benchmark.start.build import prepare
from benchmark.start.check import check_model
from tests.benchmark.reporting.outcomes import of_run
from tests.conftest import TASK

HIDDEN = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
LLAMA = {**HIDDEN, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 128}
GEMMA = {**LLAMA, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}
SHORT = {**HIDDEN, "intermediate_size": 48, "max_position_embeddings": 128}
NO_PAD = {"bos_token": "<eos>", "pad_token": None}  # as GPT-2's, Phi's
PAD_IS_EOS = {"pad_token": "<eos>"}
NO_BOS = {"bos_token": None, **PAD_IS_EOS}  # as Qwen's

FAMILIES = {  # configuration, tokenizer, entries of the embedding beyond the tokenizer's
    "gpt2": (hf.GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}, NO_PAD, 0),
    "opt": (hf.OPTConfig, {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                           "word_embed_proj_dim": 32, "max_position_embeddings": 128, "pad_token_id": 1}, {}, 8),
    "gpt-neox": (hf.GPTNeoXConfig, SHORT, NO_PAD, 24),
    "llama": (hf.LlamaConfig, {**LLAMA, "pad_token_id": 2}, PAD_IS_EOS, 0),  # SmolLM2 too
    "qwen2": (hf.Qwen2Config, {**LLAMA, "tie_word_embeddings": True}, NO_BOS, 40),
    "qwen3": (hf.Qwen3Config, {**LLAMA, "head_dim": 8}, NO_BOS, 40),
    "gemma2": (hf.Gemma2Config, GEMMA, {}, 0),
    "gemma3": (hf.Gemma3TextConfig, {**GEMMA, "sliding_window_pattern": 2}, {}, 64),
    "mistral": (hf.MistralConfig, {**LLAMA, "sliding_window": 16}, PAD_IS_EOS, 0),
    "phi": (hf.PhiConfig, SHORT, NO_PAD, 51),
    "bloom": (hf.BloomConfig, {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}, {}, 0),
    "falcon": (hf.FalconConfig, {**HIDDEN, "alibi": False}, NO_PAD, 0),
    "falcon with ALiBi": (hf.FalconConfig, {**HIDDEN, "alibi": True, "multi_query": False}, NO_PAD, 0),
    "granite": (hf.GraniteConfig, {**LLAMA, "embedding_multiplier": 12, "logits_scaling": 8}, NO_PAD, 0),
}
ADDS_BOS = ("gemma2", "gemma3", "llama")
SHARDS, BF16 = ("qwen2", "gpt2"), ("qwen3", "mistral", "opt")
PACKS = {"gpt2", "opt", "gpt-neox", "llama", "qwen2", "qwen3", "phi", "falcon", "granite"}  # no windows, no ALiBi


@pytest.fixture(scope="module")
def tokenizer(toy_sources):
    data = toy_sources[TASK].data
    return train_tokenizer([text for row in data.demonstrations for text in row], 500)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    def make(name):
        cls, shape, special, more = FAMILIES[name]
        words = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        if name in ADDS_BOS:
            words.post_processor = TemplateProcessing("<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)])
        special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", **special}
        mine = hf.PreTrainedTokenizerFast(tokenizer_object=words, **special)
        config = cls(vocab_size=len(mine) + more, bos_token_id=mine.bos_token_id, eos_token_id=mine.eos_token_id,
                     **{"pad_token_id": mine.pad_token_id, **shape})
        with global_seed("family", name):
            model = hf.AutoModelForCausalLM.from_config(config)
        place = tmp_path_factory.mktemp("families") / name.replace(" ", "-")
        model.to(torch.bfloat16 if name in BF16 else torch.float32).save_pretrained(
            place, max_shard_size="40KB" if name in SHARDS else "1GB")
        assert (len(list(place.glob("*.safetensors"))) > 1) is (name in SHARDS)
        mine.save_pretrained(place)
        return place

    return make


class Stopped(Exception):
    pass


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_trained_sampled_scored_and_resumed(name, folder, toy_config, toy_sources, tmp_path):
    config = with_assignments(toy_config, [
        f"model.path={folder(name)}", f"model.dtype={'bfloat16' if name in BF16 else 'float32'}", "sft.steps=1",
        "sft.batch=4", "reward_model.steps=1", "reward_model.batch=2", "judge.kind=gold", "adapter.rank=2",
        "validation_prompts=2", "test_prompts=2", "max_prompt_tokens=40", "max_new_tokens=6", "refine_pairs=2",
        "refine_batch=2", "sequences_per_update=4", "evaluation.points=1", "iterations=1", "checkpoint_seconds=0"], [])
    check_model(config)
    source = toy_sources[TASK]
    prepared = prepare(tmp_path / f"{TASK}__s0__x", config, TASK, source.data, 0, lambda state: None)
    exact(prepared, name)
    for method, updates in (("rloo", 1), ("mezo", 3)):
        mine = with_assignments(config, [f"budget.limit={updates}"], [])
        run, store = Run(TASK, method, 0, mine, source.versions()), RunStore(tmp_path / method)
        start = replace(prepared, config=mine)
        if updates > 1:  # stopped, and resumed
            def report(state, store=store, last=updates):
                if len(store.rows("updates.jsonl")) == last:
                    raise Stopped

            with pytest.raises(Stopped):
                execute(run, start, store, report)
        summary = execute(run, start, store, lambda state: None)
        assert summary["status"] == "done" and len(store.rows("updates.jsonl")) == updates
    whole = RunStore(tmp_path / "whole")
    execute(run, start, whole, lambda state: None)
    assert summary["resumed"]["count"] == 1 and of_run(store) == of_run(whole)


def exact(prepared: Prepared, name: str) -> None:
    """Log-probabilities and scores in a padded batch, and of the generation, are those of each row by itself."""
    policy = prepared.policy(Meter(), 0)
    reward = prepared.reward(Meter(), 0, policy=policy)
    prompts = [prepared.encoder.prompt("word " * count) for count in (1, 30, 7)]
    sequences, sampled = policy.generate(prompts, 1.0, "x", copies=2)
    own = FAMILIES[name][2].get("pad_token", "<pad>") == "<pad>"
    assert set(sequences.ids[~sequences.mask.bool()].tolist()) == {0 if own else policy.encoder.eos}
    logprobs, scores = policy.logprobs_chunked(sequences), reward.score_chunked(sequences)
    tolerance = 0.15 if name in BF16 else 1e-4
    assert torch.allclose(sampled, logprobs, atol=tolerance)
    for row, (ids, mask) in enumerate(zip(sequences.ids, sequences.mask.bool(), strict=True)):
        said = int(sequences.completion_mask[row].sum())
        alone = ids[mask].unsqueeze(0)
        with torch.no_grad():
            logits = policy.model(input_ids=alone).logits.float().log_softmax(2)[0, -said - 1 : -1]
            state = reward.plain.base_model(input_ids=alone).last_hidden_state[0, -1]
            score = reward.plain.score(state.float())
        assert torch.allclose(logits.gather(1, alone[0, -said:, None])[:, 0], logprobs[row, :said], atol=tolerance)
        assert torch.allclose(score, scores[row], atol=tolerance)
    assert reward.found["packing"] is (name in PACKS)
