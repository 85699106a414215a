"""What a job died of, in words that a user can act on and that hold no absolute path."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.core.errors import BenchmarkError
from benchmark.core.files import KEPT, storage_error

MEMORY = (f"Fewer --workers, a smaller execution.forward_batch or execution.backward_batch, or a machine with more. "
          f"{KEPT}")
NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # of the CPU, of MPS and CUDA, of cuBLAS


def out_of_memory(error: BaseException) -> bool:
    """Of the process or of the device; torch's allocator on the CPU says so in a RuntimeError."""
    import torch

    return (isinstance(error, MemoryError | torch.OutOfMemoryError)
            or (isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)))


def explain(error: Exception) -> tuple[str, str]:
    """Kind and message for ``error.json``, the terminal and the runs that needed the job; never fails itself."""
    try:
        kind, message = _explained(error)
        return kind, message.encode("utf-8", "backslashreplace").decode()  # names of files need not be text
    except Exception:  # an error of a library that cannot say what it is
        return type(error).__name__, f"{type(error).__name__}, without words."


def _explained(error: Exception) -> tuple[str, str]:
    from safetensors import SafetensorError

    if isinstance(error, BenchmarkError):
        return type(error).__name__, str(error)
    if out_of_memory(error):
        first = str(error).split("\n")[0] or "no more memory"
        return "OutOfMemoryError", f"out of memory ({first}). {MEMORY}"
    if isinstance(error, SafetensorError) or (isinstance(error, OSError) and error.errno is not None):
        name = getattr(error, "filename", None)
        path = Path(os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else "results/a file")
        return "StorageError", str(storage_error(path, error)).replace("cannot be written", "cannot be used")
    return type(error).__name__, f"{type(error).__name__}: {error}"
