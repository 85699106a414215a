"""What is trained: the choice by kind and name, its dtype, the start that can be gone back to, and perturbations."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
)

from baselines.estimators.perturbation import Perturbed
from benchmark.core.errors import ConfigError
from benchmark.core.meter import Meter
from benchmark.core.sections import Adapter
from benchmark.core.seeding import global_seed, standard_normal
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.trained import add_adapter
from tests.benchmark.lm.test_sequences import LLAMA, VOCABULARY, ragged

CONFIGS = {
    "llama": LlamaConfig(**LLAMA, initializer_range=0.3, pad_token_id=0),
    "gemma": Gemma2Config(**LLAMA, head_dim=6, initializer_range=0.3, pad_token_id=0),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=24, n_layer=2, n_head=4, n_positions=32, pad_token_id=0),
}
CHOICES = {"lora": Adapter(rank=3, alpha=6), "norms": Adapter(kind="norms"), "full": Adapter(kind="full"),
           "final norm": Adapter(kind="norms", only=r"^model\.norm\."),
           "layer": Adapter(kind="full", only=r"layers\.1\."), "lora of a layer": Adapter(rank=3, only=r"layers\.1\.")}
KINDS = [(kind, name) for kind in ("lora", "norms", "full") for name in CONFIGS if (kind, name) != ("lora", "gpt2")]


def model_of(name="llama", scalar=False, dtype=torch.float32):
    cls = AutoModelForSequenceClassification if scalar else AutoModelForCausalLM
    CONFIGS[name].num_labels = 1
    with global_seed("trained"):
        return cls.from_config(CONFIGS[name], dtype=dtype).eval()


def policy_of(adapter, name="llama", dtype=torch.float32):
    return Policy(add_adapter(model_of(name, dtype=dtype), adapter, "policy"), None, Meter(), 64, keep_start=True)


def names(adapter, name="llama", scalar=False):
    wrapped = add_adapter(model_of(name, scalar), adapter, "x")
    return (RewardModel if scalar else Policy)(wrapped, None, Meter(), 64).parameters


@torch.no_grad()
def move(policy, size=0.05):
    for name, p in policy.parameters.items():
        p.add_(size * standard_normal(p, "move", name))


@pytest.mark.parametrize(("adapter", "expected"), [
    (CHOICES["final norm"], {"model.norm.weight"}),
    (Adapter(kind="norms", only="layers.0.*layernorm"), {
        "model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight"}),
    (Adapter(kind="full", only="embed|q_proj"), {"model.embed_tokens.weight", *(
        f"model.layers.{i}.self_attn.q_proj.weight" for i in range(2))}),
    (Adapter(rank=3, only=r"1\.mlp\.up_proj$"), {
        "model.layers.1.mlp.up_proj.lora_A.weight", "model.layers.1.mlp.up_proj.lora_B.weight"}),
    (Adapter(rank=3, target_modules="q_proj,up_proj", only="layers.0"), {
        f"model.layers.0.{module}.lora_{side}.weight" for module in ("self_attn.q_proj", "mlp.up_proj")
        for side in "AB"}),
])
def test_a_pattern_chooses_and_nothing_else_is_trained(adapter, expected):
    assert names(adapter).keys() == expected


def test_norms_are_gains_and_the_biases_of_layer_norm_whatever_the_library_calls_them():
    assert len(names(Adapter(kind="norms"), "gemma")) == 4 * 2 + 1
    found = names(Adapter(kind="norms"), "gpt2")
    assert len(found) == 2 * (2 * 2 + 1) and {"transformer.ln_f.weight", "transformer.ln_f.bias"} < found.keys()
    assert all(p.ndim == 1 for p in found.values())


@pytest.mark.parametrize("choice", CHOICES)
def test_policy_and_reward_model_train_tensors_of_the_same_names_and_shapes(choice):
    ours, theirs = names(CHOICES[choice]), names(CHOICES[choice], scalar=True)
    assert theirs.keys() - ours.keys() == {"score.weight"}
    assert ours.keys() - theirs.keys() == ({"lm_head.weight"} if choice == "full" else set())
    assert all(theirs[name].shape == p.shape for name, p in ours.items() if name in theirs)


@pytest.mark.parametrize(("adapter", "words"), [
    (Adapter(only="^model.norm"), r"finds nothing to train in LlamaForCausalLM .* lora\. .*\.0\.self_attn\.q_proj"),
    (Adapter(kind="norms", only="q_proj"), r"'q_proj' finds nothing .* norms\. .*input_layernorm\.weight"),
    (Adapter(kind="full", only="layers.7"), r"finds nothing .* full\. .*model\.embed_tokens\.weight"),
])
def test_a_pattern_that_finds_nothing_is_answered_with_names(adapter, words):
    with pytest.raises(ConfigError, match=words):
        add_adapter(model_of(), adapter, 0)


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_in_low_precision_nothing_changes_at_first_and_a_small_step_is_not_lost(name, kind):
    """1e-3 is below half the distance of bfloat16 numbers at 1."""
    ids = ragged().ids
    before = model_of(name, dtype=torch.bfloat16)(input_ids=ids).logits
    policy = policy_of(Adapter(kind=kind), name, torch.bfloat16)
    after = policy.model(input_ids=ids).logits
    assert torch.equal(before, after) and after.dtype == torch.bfloat16
    hidden = policy.plain.base_model(input_ids=ids, output_hidden_states=True).hidden_states
    assert {state.dtype for state in hidden} == {torch.bfloat16}
    assert {p.dtype for p in policy.parameters.values()} == {torch.bfloat16 if kind == "full" else torch.float32}
    if kind == "norms":
        gain = next(p for key, p in policy.parameters.items() if key.endswith("weight"))
        old = gain.detach().clone()
        gain.data += 1e-3
        assert (gain - old).min() > 0.9e-3
        policy.logprobs(ragged()).sum().backward()
        assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in policy.parameters.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("choice", CHOICES)
def test_the_reference_is_the_start_to_the_bit_and_costs_no_bit_of_the_policy(choice, dtype):
    rows, policy = ragged(), policy_of(CHOICES[choice], dtype=dtype)
    start = policy.logprobs_chunked(rows)
    with policy.reference():
        assert torch.equal(policy.logprobs_chunked(rows), start)
    move(policy)
    moved, state = policy.logprobs_chunked(rows), policy.state()
    for _ in range(2):
        with policy.reference():
            assert torch.equal(policy.logprobs_chunked(rows), start)
        with pytest.raises(KeyError), policy.reference():
            raise KeyError
        assert torch.equal(policy.logprobs_chunked(rows), moved) and not torch.equal(moved, start)
        with policy.merged():
            assert torch.allclose(policy.logprobs_chunked(rows), moved, atol=1e-4)
    assert all(torch.equal(p, state[name]) for name, p in policy.parameters.items())
    assert {name for name, p in policy.model.named_parameters() if p.requires_grad} == {
        name for name, p in policy_of(CHOICES[choice]).model.named_parameters() if p.requires_grad}


def test_a_start_that_was_not_kept_is_not_made_up():
    policy = Policy(add_adapter(model_of(), Adapter(kind="full")), None, Meter(), 64)
    with pytest.raises(RuntimeError, match="keep_start"), policy.reference():
        pass


def test_tied_weights_go_back_to_the_start_at_both_ends():
    CONFIGS["llama"].tie_word_embeddings = True
    try:
        policy = policy_of(Adapter(kind="full", only="embed"))
    finally:
        CONFIGS["llama"].tie_word_embeddings = False
    rows = ragged()
    start = policy.logprobs_chunked(rows)
    move(policy)
    with policy.reference():
        assert torch.equal(policy.logprobs_chunked(rows), start)
    assert policy.plain.lm_head.weight is policy.plain.model.embed_tokens.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "name"), KINDS)
@torch.no_grad()
def test_a_perturbed_forward_is_that_of_moved_parameters_and_the_reference_stays(kind, name, dtype):
    rows, policy = ragged(), policy_of(Adapter(kind=kind, rank=3), name, dtype)
    start = policy.logprobs_chunked(rows)
    move(policy)

    def value(key):
        p = policy.parameters[key].data
        return p.add(standard_normal(p, "perturbation", key), alpha=0.1)

    with Perturbed(policy.parameters, value):
        perturbed = policy.logprobs_chunked(rows)
        with policy.reference():
            assert torch.equal(policy.logprobs_chunked(rows), start)
    moved = {key: value(key) for key in policy.parameters}
    policy.load_state(moved)
    assert torch.equal(policy.logprobs_chunked(rows), perturbed) and not torch.equal(perturbed, start)
