"""Base models and tokenizers: a tiny Llama built from the configuration, or any causal language model by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.core.errors import ConfigError, ModelError
from benchmark.core.naming import some_of
from benchmark.core.paths import model_place
from benchmark.core.sections import Execution, Model
from benchmark.core.seeding import global_seed
from benchmark.lm.files import check_files

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Buffers that older releases of the library wrote with the weights.
BUFFERS = re.compile(r"(rotary_emb\.inv_freq|\.attn\.(masked_)?bias|\.attention\.(masked_)?bias)$")
SHOWN = 3  # names in an error message


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
    return _config(model.path, model) if model.path else tiny_config(model, model.vocabulary)


def empty_model(model: Model, scalar: bool = False) -> torch.nn.Module:
    """The policy's architecture, or (``scalar``) the reward model's, without numbers: names, shapes and dtypes."""
    config = load_model_config(model)
    config.num_labels = 1
    with torch.device("meta"):
        return (scalar_class if scalar else causal_class)(config, model).from_config(
            config, dtype=getattr(torch, model.dtype), trust_remote_code=model.trust_remote_code)


def causal_class(config: PretrainedConfig, model: Model) -> Any:
    """The library's class that loads causal language models; ModelError if the architecture is none."""
    from transformers import AutoModelForCausalLM

    own = model.trust_remote_code and "AutoModelForCausalLM" in getattr(config, "auto_map", {})
    if type(config) not in AutoModelForCausalLM._model_mapping and not own:
        raise ModelError(f"model {model.path}: {config.model_type} is no causal language model (one that reads from "
                         f"left to right and continues a text). Pass --model with one that is.")
    return AutoModelForCausalLM


def scalar_class(config: PretrainedConfig, model: Model) -> Any:
    """The library's class that loads the backbone with a scalar head; ModelError if there is none."""
    from transformers import AutoModelForSequenceClassification

    own = model.trust_remote_code and "AutoModelForSequenceClassification" in getattr(config, "auto_map", {})
    known = AutoModelForSequenceClassification._model_mapping
    if type(config) not in known and not own and (made := _with_scalar_head(config)) is not None:
        AutoModelForSequenceClassification.register(type(config), made, exist_ok=True)
    if type(config) not in known and not own:
        raise ModelError(f"model {model.path}: transformers has no scalar head for the architecture "
                         f"{config.model_type}, and the reward model is the policy's backbone with one. Pass --model "
                         f"with another architecture.")
    return AutoModelForSequenceClassification


def _with_scalar_head(config: PretrainedConfig) -> type | None:
    """The library's scalar head on a backbone that it has no class of its own for; None where that does not fit."""
    from transformers import AutoModelForCausalLM
    from transformers.modeling_layers import GenericForSequenceClassification

    base: Any = AutoModelForCausalLM._model_mapping.get(type(config), None)
    if base is None or base.base_model_prefix != GenericForSequenceClassification.base_model_prefix:
        return None
    name = base.__name__.replace("ForCausalLM", "ForSequenceClassification")
    return type(name, (GenericForSequenceClassification, base.__mro__[1]), {"__module__": base.__module__})


def load_raw_tokenizer(model: Model) -> PreTrainedTokenizerBase:
    """Load the tokenizer of ``model.path`` as it is; ModelError says what to do if that fails."""
    from transformers import AutoTokenizer

    return _from_pretrained(AutoTokenizer, model.path, model)


def load_tokenizer(model: Model) -> PreTrainedTokenizerBase:
    """Load the tokenizer of ``model.path``. Padding is what the mask hides, so that any token will do for it: EOS where
    there is none, or one that the model has no embedding of. EOS stays a token of the text wherever the mask shows it.

    Raises:
        ModelError: it cannot be found, or has no EOS.
    """
    tokenizer = load_raw_tokenizer(model)
    if tokenizer.eos_token_id is None:
        raise ModelError(f"model {model.path}: its tokenizer has no EOS token. Set eos_token in its configuration.")
    padding, entries = tokenizer.pad_token_id, load_model_config(model).get_text_config().vocab_size
    if padding is None or padding >= entries:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_causal_lm(path: str | Path, model: Model, dtype: torch.dtype) -> Any:
    """Load a causal language model from a folder, a GGUF file or the hub.

    Raises:
        ModelError: it cannot be loaded, or its weights are not those of its configuration.
    """
    cls = causal_class(_config(path, model), model)
    loaded, found = _from_pretrained(cls, path, model, dtype=dtype, output_loading_info=True)
    return _checked(loaded, path, found["missing_keys"], found["unexpected_keys"])


def load_scalar_model(path: str | Path, model: Model, dtype: torch.dtype, seed: Any) -> Any:
    """Load a backbone with a scalar head (new and float32 where the folder has none); errors as for a causal one."""
    cls = scalar_class(_config(path, model), model)
    with global_seed("head", seed):
        loaded, found = _from_pretrained(cls, path, model, dtype=dtype, num_labels=1, output_loading_info=True)
    loaded.score.float()
    backbone = f"{loaded.base_model_prefix}."
    return _checked(loaded, path, [name for name in found["missing_keys"] if not name.startswith("score.")],
                    [name for name in found["unexpected_keys"] if name.startswith(backbone)])


def _config(path: str | Path, model: Model) -> PretrainedConfig:
    from transformers import AutoConfig

    return _from_pretrained(AutoConfig, path, model)


def _checked(loaded: Any, path: str | Path, missing: Iterable[str], unexpected: Iterable[str]) -> Any:
    """``loaded``, if all its numbers come from the file and all of the file's are in it."""
    unexpected = [name for name in unexpected if not BUFFERS.search(name)]
    for names, what in ((sorted(missing), "lack"), (sorted(unexpected), "hold, unlike its config.json,")):
        if names:
            raise ModelError(f"model {path}: its weights {what} {some_of(names, SHOWN)}, so that the model would not "
                             f"be the one that was saved. Pass the folder that save_pretrained wrote, with config.json "
                             f"and weights of the same model (a prefix such as _orig_mod. must go).")
    for module in loaded.modules():  # what a configuration calls padding may stand in a text, and is trained like it
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    return loaded


def revision_of(model: Model) -> str | None:
    """The hub commit of a loaded model, None for a folder or a model built here."""
    if not model.path or Path(model_place(model.path)).exists():
        return None
    return getattr(load_model_config(model), "_commit_hash", None)


def _from_pretrained(cls: Any, path: str | Path, model: Model, **options: Any) -> Any:
    place = model_place(str(path))
    folder = Path(place)
    revision = model.revision or None if str(path) == model.path and not folder.exists() else None
    if folder.is_absolute() and not folder.exists():
        raise ModelError(f"model {path}: no such folder. Pass --model with an existing folder or a hub name.")
    if folder.suffix == ".gguf" and folder.is_file():
        place, options = str(folder.parent), {**options, "gguf_file": folder.name}
        if "output_loading_info" in options:
            from transformers import GgufConfig

            options["quantization_config"] = GgufConfig(dequantize=True)
    elif "output_loading_info" in options:
        options = {**options, "use_safetensors": True}
    check_files(path)
    try:
        with quiet_transformers():
            return cls.from_pretrained(place, revision=revision, trust_remote_code=model.trust_remote_code,
                                       **options)
    except Exception as error:  # the libraries beneath raise errors of many kinds, bare ones among them
        reason = " ".join(str(error).split())[:300]
        if "gguf_file" in options:
            raise ModelError(f"model {path}: cannot be read (transformers said: {reason}). GGUF files need the "
                             f"package gguf: pip install 'zo-preference-benchmark[gguf]'.") from None
        if folder.is_dir() and (folder / "config.json").is_file():
            raise ModelError(
                f"model {path}: its {'weights' if 'use_safetensors' in options else 'tokenizer or configuration'} "
                f"cannot be loaded: {reason}. Files of a newer release need one here: pip install -U transformers "
                f"tokenizers. Weights are read as safetensors only (pickled ones could run code).") from None
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
