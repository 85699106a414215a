"""The site of docs/ (mkdocs.yml): pages for modules, and links out of docs/ that lead to the repository."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("benchmark", "baselines", "tasks")
FENCED = re.compile(r"(^```.*?^```$)", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s#]+)(#[^)\s]*)?\)")


def modules(root: Path = ROOT) -> dict[str, str]:
    """Place of its page → name of every public module that says something."""
    found = {}
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if path.stat().st_size and not any(part.startswith("_") and part != "__init__" for part in parts):
            index = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if index else parts)
            found["/".join(("api", *parts[:-1], "index" if index else parts[-1])) + ".md"] = name
    return found


def links(text: str, page: Path, repository: str | None, root: Path = ROOT) -> str:
    """``text`` of ``page`` with links to files beside docs/ leading to ``repository``. Where none is known, those to
    code lead to the module's page, and the others are words."""
    pages = {root / f"{name.replace('.', '/')}{end}": root / "docs" / place
             for place, name in modules(root).items() for end in (".py", "/__init__.py")}

    def lead(found: re.Match[str]) -> str:
        image, words, place, anchor = found.groups()
        target = (page.parent / place).resolve()
        if target.is_relative_to(root / "docs") or not target.exists():  # what leads nowhere is for the build to say
            return found[0]
        if not repository:
            own = pages.get(target)
            return f"[{words}]({Path(os.path.relpath(own, page.parent)).as_posix()})" if own and not image else words
        kind = "raw" if image else "tree" if target.is_dir() else "blob"
        address = f"{repository.rstrip('/')}/{kind}/main/{target.relative_to(root).as_posix()}{anchor or ''}"
        return f"{image}[{words}]({address})"

    parts = FENCED.split(text)
    return "".join(part if number % 2 else LINK.sub(lead, part) for number, part in enumerate(parts))


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for place, name in modules().items():
        files.append(File.generated(config, place, content=f"# {name}\n\n::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    return links(markdown, ROOT / "docs" / page.file.src_uri, config.repo_url)
