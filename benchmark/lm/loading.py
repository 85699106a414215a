"""Base models and tokenizers: a tiny Llama built from the configuration, or any causal language model by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.core.errors import ConfigError, ModelError
from benchmark.core.paths import model_place
from benchmark.core.sections import Execution, Model
from benchmark.core.seeding import global_seed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Tokens that a vocabulary reserves and text never contains, best first.
SPARE_TOKENS = ("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<|padding|>", "<pad>", "[PAD]", "<unk>")


def device_of(execution: Execution) -> torch.device:
    """The device of a run; ``auto`` is accelerate's choice.

    Raises:
        ConfigError: a device that this machine does not have.
    """
    if execution.device == "auto":
        from accelerate import PartialState

        return PartialState().device
    try:
        device = torch.device(execution.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {execution.device}: not usable here ({reason}). Try --device cpu.") from None
    return device


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE tokenizer of at most ``vocabulary`` entries with <pad>, <bos> and <eos>."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=vocabulary, min_frequency=2, show_progress=False,
                                  special_tokens=["<pad>", "<bos>", "<eos>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, pad_token="<pad>", bos_token="<bos>",
                                   eos_token="<eos>", clean_up_tokenization_spaces=False)


def tiny_config(model: Model, vocabulary: int, scale: float = 1.0, **options: Any) -> Any:
    """Configuration of a Llama of the configured shape, its widths multiplied by ``scale``."""
    from transformers import LlamaConfig

    head = model.hidden_size // model.heads
    heads = round(model.heads * scale)
    heads -= heads % model.kv_heads
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=head * heads, intermediate_size=round(model.intermediate_size * scale),
        num_hidden_layers=model.layers, num_attention_heads=heads, num_key_value_heads=model.kv_heads,
        tie_word_embeddings=True, **options,
    )


def tiny_llama(model: Model, tokenizer: PreTrainedTokenizerBase, max_positions: int, seed: Any,
               scale: float = 1.0) -> Any:
    """Return a randomly initialised Llama of the configured shape."""
    from transformers import LlamaForCausalLM

    config = tiny_config(model, len(tokenizer), scale, max_position_embeddings=max_positions,
                         pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
                         eos_token_id=tokenizer.eos_token_id)
    with global_seed("model", seed):
        return LlamaForCausalLM(config)


def load_model_config(model: Model) -> PretrainedConfig:
    """The configuration of the policy's architecture, without its weights."""
    from transformers import AutoConfig

    return _from_pretrained(AutoConfig, model.path, model) if model.path else tiny_config(model, model.vocabulary)


def empty_model(model: Model, scalar: bool = False) -> torch.nn.Module:
    """The policy's architecture, or (``scalar``) the reward model's, without numbers: names, shapes and dtypes."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    config = load_model_config(model)
    config.num_labels = 1
    cls = AutoModelForSequenceClassification if scalar else AutoModelForCausalLM
    with torch.device("meta"):
        return cls.from_config(config, dtype=getattr(torch, model.dtype), trust_remote_code=model.trust_remote_code)


def load_raw_tokenizer(model: Model) -> PreTrainedTokenizerBase:
    """Load the tokenizer of ``model.path`` as it is; ModelError says what to do if that fails."""
    from transformers import AutoTokenizer

    return _from_pretrained(AutoTokenizer, model.path, model)


def load_tokenizer(model: Model) -> PreTrainedTokenizerBase:
    """Load the tokenizer of ``model.path`` and make sure that padding is not EOS (EOS must be learnable).

    Raises:
        ModelError: it cannot be found, has no EOS, or no token is free for padding.
    """
    tokenizer = load_raw_tokenizer(model)
    if tokenizer.eos_token_id is None:
        raise ModelError(f"model {model.path}: its tokenizer has no EOS token. Set eos_token in its configuration.")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        known = tokenizer.get_vocab()
        spare = [token for token in SPARE_TOKENS if token in known and token != tokenizer.eos_token]
        if not spare:
            raise ModelError(f"model {model.path}: no token is free for padding (padding must differ from EOS). "
                             f"Set pad_token in its tokenizer_config.json to a token that text never contains.")
        tokenizer.pad_token = spare[0]
    return tokenizer


def load_causal_lm(path: str | Path, model: Model, dtype: torch.dtype) -> Any:
    """Load a causal language model from a folder or the hub; ModelError says what to do if that fails."""
    from transformers import AutoModelForCausalLM

    return _from_pretrained(AutoModelForCausalLM, path, model, dtype=dtype, use_safetensors=True)


def load_scalar_model(path: str | Path, model: Model, dtype: torch.dtype, seed: Any) -> Any:
    """Load a backbone with a scalar head (new and float32 where the folder has none)."""
    from transformers import AutoModelForSequenceClassification

    with global_seed("head", seed):
        loaded = _from_pretrained(AutoModelForSequenceClassification, path, model, dtype=dtype, num_labels=1,
                                  use_safetensors=True)
    loaded.score.float()
    return loaded


def revision_of(model: Model) -> str | None:
    """The hub commit of a loaded model, None for a folder or a model built here."""
    if not model.path or Path(model_place(model.path)).is_dir():
        return None
    return getattr(load_model_config(model), "_commit_hash", None)


def _from_pretrained(cls: Any, path: str | Path, model: Model, **options: Any) -> Any:
    place = model_place(str(path))
    folder = Path(place)
    revision = model.revision or None if str(path) == model.path and not folder.is_dir() else None
    if folder.is_absolute() and not folder.is_dir():
        raise ModelError(f"model {path}: no such folder. Pass --model with an existing folder or a hub name.")
    try:
        with quiet_transformers():
            return cls.from_pretrained(place, revision=revision, trust_remote_code=model.trust_remote_code,
                                       **options)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model {path}: cannot be loaded. It is neither a folder with config.json, weights (safetensors; pickled "
            f"ones could run code and are not read) and tokenizer, nor "
            f"reachable on the hub from here. Pass --model FOLDER, connect to the hub, or leave --model out for the "
            f"tiny built-in model. (transformers said: {reason})"
        ) from None


class quiet_transformers:
    """Silences the library's progress bars and its note that a head is new: both are expected here."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._level = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *exception: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._level)






def tokenizer_texts(demonstrations: Iterable[tuple[str, str]], cue: str) -> Iterator[str]:
    """The texts a tokenizer is trained on: prompts with their cue, and completions with their leading space."""
    for prompt, completion in demonstrations:
        yield prompt + cue
        yield " " + completion
