"""Models that cannot do what will be asked of them are refused before anything is trained: with the remedy."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from benchmark.core.errors import ConfigError, ModelError
from benchmark.core.seeding import global_seed
from benchmark.lm.loading import load_causal_lm, load_scalar_model, load_tokenizer, train_tokenizer
from benchmark.plan.resolve import with_assignments
from benchmark.start.check import check_model

LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 128}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"row {i} of some plain text, 0 or 1" for i in range(200)], 400)


@pytest.fixture
def save(tokenizer, tmp_path):
    def make(config=hf.LlamaConfig, auto=hf.AutoModelForCausalLM, entries=0, **shape):
        with global_seed("check"):
            model = auto.from_config(config(**{"vocab_size": entries or len(tokenizer), "bos_token_id": 1,
                                               "eos_token_id": 2, "pad_token_id": 0, **(shape or LLAMA)}))
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return make


@pytest.fixture
def check(toy_config):
    def go(folder, *assignments):
        check_model(with_assignments(toy_config, [f"model.path={folder}", "max_prompt_tokens=40", *assignments], []))

    return go


def edit(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_whole_model_passes(save, check):
    check(save())


def layers(folder, count):
    edit(folder / "config.json", num_hidden_layers=count)


def prefix(folder):
    weights = {f"_orig_mod.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def scalar_head(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "model.extra.weight": torch.ones(2)}, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda folder: layers(folder, 4), r"lack model\.layers\.2\.\S+, .* and 15 more"),
    (lambda folder: layers(folder, 1), r"hold, unlike its config.json, model\.layers\.1\."),
    (prefix, r"lack .*model\.embed_tokens.* _orig_mod\."),
    (scalar_head, r"hold, unlike its config.json, model\.extra\.weight, so"),
], ids=["more layers", "fewer layers", "prefix", "unknown tensor"])
def test_weights_that_are_not_those_of_the_configuration(save, check, toy_config, spoil, words):
    folder = save()
    spoil(folder)
    with pytest.raises(ModelError, match=words):
        check(folder)
    if "scalar" not in spoil.__name__:  # judges and prepared folders are read alike
        for load in (load_causal_lm, lambda *given: load_scalar_model(*given, 0)):
            with pytest.raises(ModelError, match=words.split(" and ")[0].replace("lm_head", ".*")):
                load(folder, toy_config.model, torch.float32)


def test_a_new_head_is_drawn_from_its_own_stream(save, toy_config):
    heads = [load_scalar_model(save(), toy_config.model, torch.float32, seed).score.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def pointer(folder, name):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 538090408\n")


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def newer(folder):
    path = folder / "tokenizer.json"
    edit(path, model={**json.loads(path.read_text())["model"], "type": "BPE9"})


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda folder: pointer(folder, "model.safetensors"), "model.safetensors is a Git LFS pointer.*git lfs pull"),
    (lambda folder: pointer(folder, "tokenizer.json"), "tokenizer.json is a Git LFS pointer"),
    (cut, r"model.safetensors \([\d,]+ bytes\) is cut short"),
    (newer, "tokenizer or configuration cannot be loaded: .*pip install -U transformers tokenizers"),
    (lambda folder: (folder / "config.json").write_text("{"), "config.json is not valid JSON"),
    (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter.*merge_and_unload"),
    (lambda folder: edit(folder / "config.json", quantization_config={"quant_method": "gptq"}), "quantised"),
    (lambda folder: (folder / "model.safetensors").unlink(), "its weights cannot be loaded.*safetensors only"),
], ids=["pointer", "tokenizer pointer", "cut short", "newer tokenizer", "bad JSON", "adapter", "quantised",
        "no weights"])
def test_files_that_are_no_whole_model(save, check, spoil, words):
    folder = save()
    spoil(folder)
    with pytest.raises(ModelError, match=words):
        check(folder)


def test_a_window_of_tokens_to_come_is_refused(save, check):
    folder = save(hf.Gemma3TextConfig, **LLAMA, head_dim=8, query_pre_attn_scalar=8, use_bidirectional_attention=True)
    with pytest.raises(ModelError, match="not causal"):
        check(folder)


def test_a_translator_is_refused(save, check):
    folder = save(hf.T5Config, hf.AutoModelForSeq2SeqLM, d_model=32, d_ff=64, num_layers=2, num_heads=4, d_kv=8,
                  decoder_start_token_id=0)
    with pytest.raises(ModelError, match="t5 is no causal language model"):
        check(folder)


def test_positions_must_be_enough_for_the_policy_and_the_judge(save, check):
    folder = save()
    with pytest.raises(ModelError, match=r"max_new_tokens = 140 tokens, but it has 128 positions"):
        check(folder, "max_new_tokens=100")
    with pytest.raises(ModelError, match=r"judge's question .* but it has 128 positions"):
        check(folder, "judge.kind=llm", f"judge.path={folder}")


def test_tokens_without_an_embedding_are_refused_unless_they_only_pad(save, check, tokenizer, toy_config):
    with pytest.raises(ModelError, match=r"tokens that the model has no embedding of, such as .* of \d+"):
        check(save(entries=len(tokenizer) - 5))
    folder = save()
    padded = hf.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    padded.add_special_tokens({"pad_token": "[PAD]"})
    padded.save_pretrained(folder)
    check(folder)
    model = with_assignments(toy_config, [f"model.path={folder}"], []).model
    assert load_tokenizer(model).pad_token_id == load_tokenizer(model).eos_token_id == 2


@pytest.mark.parametrize("field", ["sft.parameters=full", "reward_model.parameters=full", "adapter.kind=full"])
def test_float16_is_not_trained_by_adamw(save, check, field):
    rest = ("sft.parameters=lora", "reward_model.parameters=lora", "adapter.kind=norms", "model.dtype=float16")
    with pytest.raises(ConfigError, match=field.replace("=", " = ")):
        check(save(), *rest, field)
    check(save(), *rest)


def test_a_chat_needs_a_template(save, check, toy_config):
    with pytest.raises(ModelError, match="has no chat template"):
        check(save(), "decoding.template=chat")
    with pytest.raises(ConfigError, match="the tiny model has no chat template"):
        check_model(with_assignments(toy_config, ["decoding.template=chat"], []))
