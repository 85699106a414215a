"""One look at model, tokenizer, lengths and abilities before anything is trained, and by ``run --dry-run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmark.core.errors import ConfigError, ModelError
from benchmark.core.sections import JUDGES, Model
from benchmark.core.seeding import generator
from benchmark.lm.adapted import same
from benchmark.lm.encoder import chat_pieces
from benchmark.lm.loading import empty_model, load_causal_lm, load_model_config, load_raw_tokenizer, load_tokenizer
from benchmark.lm.trained import add_adapter
from benchmark.plan.resolve import Config
from benchmark.run.judge import LLMJudge, outside_judge
from benchmark.run.prepared import judge_model

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

PROBED = 12  # tokens of the text by which causality and cache are looked at


def check_model(config: Config) -> None:
    """Fail early, before anything is trained, if the models named cannot do what will be asked of them.

    Raises:
        ModelError: a model cannot be found or read whole, is not causal, has too few positions, or its tokenizer does
            not fit it; names the remedy.
        ConfigError: there is nothing in policy and reward model of what is to be trained (names what could be), its
            numbers cannot be trained, or a plugin's judge cannot judge.
    """
    check_dtype(config)
    for scalar in (False, True):
        with torch.device("meta"):
            add_adapter(empty_model(config.model, scalar), config.adapter)
    if config.decoding.template == "chat" and not config.model.path:
        raise ConfigError("decoding.template = chat, but the tiny model has no chat template. Pass --model.")
    if config.model.path:
        tokenizer = load_tokenizer(config.model)
        check_tokenizer(config.model, tokenizer, load_model_config(config.model))
        if config.decoding.template == "chat":
            chat_pieces(tokenizer)
        check_positions(config.model, config.decoding.max_prompt_tokens + config.decoding.max_new_tokens,
                        "decoding.max_prompt_tokens + decoding.max_new_tokens")
        probe(load_causal_lm(config.model.path, config.model, getattr(torch, config.model.dtype)), config.model)
    if JUDGES[config.judge.kind]:
        outside_judge(config.judge.kind)
    if config.judge.kind == "llm":
        model = judge_model(config)
        asked = LLMJudge.longest(load_raw_tokenizer(model), config.decoding)
        check_positions(model, asked, "the judge's question with its prompt and two completions")


def check_dtype(config: Config) -> None:
    """ConfigError where AdamW would train float16 numbers: its steps are lost and its ε is zero there."""
    full = [name for name, value in (
        ("sft.parameters", config.sft.parameters), ("reward_model.parameters", config.reward_model.parameters),
        ("adapter.kind", config.adapter.kind)) if value == "full"]
    if config.model.dtype == "float16" and full:
        raise ConfigError(f"model.dtype = float16 with {' and '.join(f'{name} = full' for name in full)}: AdamW in "
                          f"float16 gives numbers that are not finite. Use model.dtype=bfloat16, or lora.")


def check_tokenizer(model: Model, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """ModelError if the tokenizer knows tokens that the model has no embedding of (padding needs none)."""
    rows = config.get_text_config().vocab_size
    beyond = sorted((number, token) for token, number in tokenizer.get_vocab().items()
                    if number >= rows and token != tokenizer.pad_token and (
                        number in (tokenizer.bos_token_id, tokenizer.eos_token_id) or
                        token not in tokenizer.get_added_vocab()))
    if beyond:
        raise ModelError(f"model {model.path}: its tokenizer has tokens that the model has no embedding of, such as "
                         f"{beyond[0][1]!r} = {beyond[0][0]} of {rows}. They are not of one model: pass a folder where "
                         f"they are, or resize the model (resize_token_embeddings) and save it again.")


def check_positions(model: Model, asked: int, what: str) -> None:
    """ModelError if the model has fewer positions than ``asked`` tokens, or changes with the length before that."""
    config = load_model_config(model).get_text_config()
    known = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":  # other frequencies for all as soon as one row is longer
        known = rope.get("original_max_position_embeddings", known)
    if known is not None and asked > known:
        raise ModelError(f"model {model.path}: {what} = {asked} tokens, but it has {known} positions. Lower "
                         f"--set max_prompt_tokens or max_new_tokens, or pass a model with more.")


@torch.no_grad()
def probe(loaded: Any, model: Model) -> None:
    """ModelError if a later token changes what comes before it, or a key-value cache changes what comes after."""
    ids = torch.randint(loaded.get_input_embeddings().num_embeddings, (1, PROBED), generator=generator("probe"))
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % loaded.get_input_embeddings().num_embeddings
    try:
        first, second = (loaded(input_ids=row, use_cache=False).logits.float() for row in (ids, other))
        head = loaded(input_ids=ids[:, :-1], use_cache=True)
        tail = loaded(input_ids=ids[:, -1:], past_key_values=head.past_key_values, use_cache=True).logits.float()
    except Exception as error:
        raise ModelError(f"model {model.path}: it cannot read and continue a text of token ids with a key-value cache "
                         f"({' '.join(str(error).split())[:200]}). Pass another --model.") from None
    if not first.isfinite().all():
        raise ModelError(f"model {model.path}: its logits are not finite in {model.dtype}. Check its weights, or use "
                         f"another --set model.dtype.")
    exact = loaded.dtype == torch.float32  # both rows are as long: equal but for the last place of some kernels
    if (first - second)[:, :-1].abs().max() > (1e-5 if exact else 2e-2) * first.abs().max():
        raise ModelError(f"model {model.path}: it is not causal: a later token changes what it says of earlier ones. "
                         f"Pass --model with a model that reads from left to right.")
    if not same(tail[:, -1].to(loaded.dtype), first[:, -1].to(loaded.dtype)):
        raise ModelError(f"model {model.path}: with its key-value cache it does not continue as it does without. Pass "
                         f"another --model.")
