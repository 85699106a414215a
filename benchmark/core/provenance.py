"""Where a result comes from: versions, hardware, commit. No host or user name, no path, no environment variable."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from benchmark import __version__
from benchmark.core.digests import code_digest
from benchmark.core.errors import ModelError
from benchmark.core.records import Hardware, Machine

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "datasets", "evaluate", "safetensors", "numpy",
            "scipy", "sacrebleu", "rouge-score")


def packages() -> dict[str, str]:
    """Installed versions of the packages that a result depends on."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def folder_digest(folder: Path) -> str:
    """First 16 hexadecimal digits of the sha256 of a model folder's files, or of one file, by name and content;
    hidden ones are left out. Each folder is read once in a process.

    Raises:
        ModelError: a file cannot be read.
    """
    total = hashlib.sha256()
    files = [folder] if folder.is_file() else [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        name = path.relative_to(folder) if path != folder else Path(path.name)
        if any(part.startswith(".") for part in name.parts):
            continue
        try:
            with open(path, "rb") as file:
                total.update(f"{name.as_posix()}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            raise ModelError(f"model {folder}: {name} cannot be read ({error.strerror}). Check the file.") from None
    return total.hexdigest()[:16]


def commit() -> tuple[str | None, bool | None]:
    """The commit of the checkout this code runs from and whether tracked files differ from it; None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=10,
                              check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def is_committed(folder: Path) -> bool:
    """Whether a git repository tracks files of ``folder``."""
    try:
        return bool(subprocess.run(["git", "ls-files", "--", "."], cwd=folder, capture_output=True, timeout=10,
                                   check=True).stdout)
    except (OSError, subprocess.SubprocessError):
        return False


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the generic name will do
    return platform.processor() or platform.machine()


def machine(device: str, threads: int, workers: int) -> Machine:
    """What a run records of code and machine."""
    import torch

    revision, dirty = commit()
    cuda = device.startswith("cuda")
    try:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        memory = None
    hardware = Hardware(cpu=cpu_name(), cores=os.cpu_count(), memory_gib=memory,
                        gpu=torch.cuda.get_device_name(device) if cuda else None)
    return Machine(version=__version__, commit=revision, dirty=dirty, code=code_digest(),
                   python=sys.version.split()[0], packages=packages(),
                   platform=f"{platform.system()} {platform.machine()}", hardware=hardware,
                   cuda=torch.version.cuda if cuda else None, device=device, threads=threads, workers=workers)
