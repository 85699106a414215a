"""Pages whose code is executed: their blocks, and settings that make their commands small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(python|bash|toml)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
SMALL = ("--set", "train_rows=200", "--set", "heldout_rows=40", "--set", "sft.steps=5", "--set", "reward_model.steps=4",
         "--set", "budget.kind=updates", "--set", "budget.limit=6", "--set", "max_new_tokens=8", "--set",
         "validation_prompts=4", "--set", "test_prompts=4", "--set", "points=1", "--workers", "0", "--device", "cpu")


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, file that a first comment names, text) of every block of a page in docs."""
    found = []
    for language, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        name = re.match(r"# (\S+\.(?:py|toml))\n", text)
        found.append((language, name[1] if name else "", text))
    return found


def commands(page: str) -> list[list[str]]:
    """Every command of a page, as words."""
    return [shlex.split(line) for language, _, text in blocks(page) if language == "bash"
            for line in text.replace("\\\n", " ").splitlines()]
