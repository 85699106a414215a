"""What of a model is trained: LoRA factors, the gains of its norms, or its own parameters.

The choice is the same for policy, reward model and critic, so that their updates have the same names and shapes; a
scalar head is trained in addition.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from benchmark.core.errors import ConfigError
from benchmark.core.sections import Adapter
from benchmark.core.seeding import global_seed

if TYPE_CHECKING:
    from peft import PeftModel

M = TypeVar("M", bound=nn.Module)
NORM = re.compile(r"(rms|layer)_?norm", re.IGNORECASE)  # in the name of a class
SHOWN = 8  # names in an error message


def add_adapter(model: nn.Module, adapter: Adapter, *seed: object) -> nn.Module:
    """Return ``model`` with gradients for what ``adapter`` says, and for a scalar head; its outputs do not change.

    For LoRA peft wraps it. Factors and gains are float32 whatever the model's dtype; ``full`` keeps the tensors' own.

    Args:
        seed: names of the random stream of LoRA factors.

    Raises:
        ConfigError: nothing that could be trained has a name that ``adapter.only`` finds; shows names that there are.
    """
    if adapter.kind == "lora":
        return add_lora(model, adapter, 0.0, *seed, only=adapter.only)
    tensors = dict(model.requires_grad_(False).named_parameters())
    holders = {f"{place}.{name}": module for place, module in model.named_modules()
               for name, _ in module.named_parameters(recurse=False) if NORM.search(type(module).__name__)}
    for name in _found(holders if adapter.kind == "norms" else tensors, adapter, model):
        if adapter.kind == "norms":
            _keep_in_float32(holders[name])
        tensors[name].requires_grad_(True)
    return _with_head(model)


def add_lora(model: nn.Module, adapter: Adapter, dropout: float, *seed: object, only: str = "") -> PeftModel:
    """Return ``model`` wrapped by peft with trainable float32 LoRA factors (B = 0, so outputs do not change), and with
    gradients for a scalar head.

    Args:
        only: regular expression that finds the names of the modules, among those that the adapter targets.
    """
    from peft import LoraConfig, get_peft_model

    modules = linear_modules(model) if adapter.target_modules == "all-linear" else adapter.target_modules.split(",")
    if only:
        modules = _found([name for name, _ in model.named_modules()
                          if any(f".{name}".endswith(f".{module}") for module in modules)], adapter, model)
    config = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=dropout, target_modules=modules)
    with global_seed("lora", *seed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)  # peft asks the old name
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")  # GPT-2's layers: peft sees to it
        return _with_head(get_peft_model(model, config))


def linear_modules(model: Any) -> list[str]:
    """Names (last component) of the linear layers of the backbone: peft's all-linear, the same for every head."""
    return sorted({name.rsplit(".", 1)[-1] for name, module in model.base_model.named_modules()
                   if isinstance(module, nn.Linear | Conv1D)})


def _found(names: Iterable[str], adapter: Adapter, model: nn.Module) -> list[str]:
    names = list(names)
    if found := [name for name in names if re.search(adapter.only, name)]:
        return found
    some = ", ".join(names[:: max(1, len(names) // SHOWN)]) or "none"
    raise ConfigError(f"adapter.only = {adapter.only!r} finds nothing to train in {type(model).__name__} with "
                      f"adapter.kind = {adapter.kind}. Names there: {some}.")


def _with_head(model: M) -> M:
    if isinstance(head := getattr(model, "score", None), nn.Module):
        head.requires_grad_(True)
    return model


def _keep_in_float32(norm: nn.Module) -> None:
    """Make the parameters of ``norm`` float32, in which small updates are not lost, and leave its outputs as they are.

    peft's LNTuning would train a copy in the base's dtype, in the layers of the architectures that it knows.
    """
    dtype = next(norm.parameters()).dtype
    if dtype == torch.float32:
        return
    norm.float()
    if isinstance(norm, nn.LayerNorm | nn.RMSNorm):  # torch's kernels take one dtype, others multiply by the gain
        norm.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    norm.register_forward_hook(lambda _, inputs, output: output.to(dtype))
