"""The files of a model's folder, looked at before any library reads them: pointers, files that end early, adapters."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.core.errors import ModelError
from benchmark.core.paths import model_place

POINTER = b"version https://git-lfs.github.com/spec/"
READ = ("*.safetensors", "*.json", "*.gguf", "tokenizer.model")


def check_files(path: str | Path) -> None:
    """Raise ModelError if the folder (or GGUF file) ``path`` holds what cannot be a whole model of its own; what is
    no place on this disk is left to the hub."""
    place = Path(model_place(str(path)))
    files = [place] if place.is_file() else sorted(file for kind in READ for file in place.glob(kind))
    for file in files:
        try:
            with open(file, "rb") as opened:
                head = opened.read(len(POINTER))
                if head == POINTER:
                    raise ModelError(f"model {path}: {file.name} is a Git LFS pointer, not the file itself. Get the "
                                     f"files with: git lfs install && git lfs pull.")
                if file.suffix == ".safetensors":
                    _check_length(path, file, int.from_bytes(head[:8], "little"))
        except OSError as error:
            raise ModelError(f"model {path}: {file.name} cannot be read ({error.strerror}). Check the file.") from None
    if (place / "adapter_config.json").is_file():
        raise ModelError(f"model {path}: it holds an adapter (adapter_config.json). Merge it into the model first "
                         f"(peft: PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(new)), or "
                         f"move adapter_config.json and adapter_model.* out to use the model without it.")
    if (place / "config.json").is_file():
        try:
            config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"model {path}: config.json is not valid JSON ({error}). Get it again.") from None
        if "quantization_config" in config:
            raise ModelError(f"model {path}: its weights are quantised (quantization_config in config.json), and "
                             f"training here needs them as float32, bfloat16 or float16. Pass the model that it was "
                             f"made from.")


def _check_length(path: str | Path, file: Path, header: int) -> None:
    """A safetensors file says in its header (its length first, 8 bytes) where its last tensor ends."""
    size = file.stat().st_size
    try:
        with open(file, "rb") as opened:
            opened.seek(8)
            entries = json.loads(opened.read(min(header, size)))
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        whole = size >= 8 + header + max(ends, default=0)
    except (ValueError, LookupError, AttributeError, TypeError):
        whole = False
    if not whole:
        raise ModelError(f"model {path}: {file.name} ({size:,} bytes) is cut short or no safetensors file. Get it "
                         f"again.")
