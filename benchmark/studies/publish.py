"""A result folder as a data set on the Hugging Face hub: what is sent, what is refused, and the card."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.registry import ORDER
from benchmark.core.errors import ConfigError
from benchmark.core.paths import within
from benchmark.core.records import FILES
from benchmark.reporting.pages.markdown import what_was_run
from benchmark.reporting.read.aggregate import improvements
from benchmark.reporting.read.frames import Runs
from benchmark.reporting.read.reader import Results, read
from benchmark.reporting.read.runs import NAME
from benchmark.reporting.tables import formats, overall, per_task

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TABLES = ("curves", "updates", "summaries")
TEXTS = (".json", ".jsonl", ".md", ".csv", ".tex", ".html", ".svg")
SECRETS = re.compile(
    r"hf_[A-Za-z0-9]{30,}|(?:gh[opsu]|github_pat)_\w{30,}|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{35}"
    r"|\bxox[abprs]-[\w-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----")
SECRET_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|API_?KEY", re.IGNORECASE)  # of environment variables
PLACES = re.compile(
    r"(?<![\w./:…-])/(?:home|Users|root|mnt|media|scratch|workspace|tmp|var|private|opt|srv)/[^\s\"'<>]+"
    r"|\b[A-Za-z]:\\{1,2}Users\\{1,2}[^\s\"'<>]+")
CARD = """\
Runs of the zeroth-order preference benchmark: preference-optimisation methods for language models, first order and
zeroth order, from the same start, on the same data and under the same budget. Every directory is one run with its
configuration, environment, curve and summary, under checksums; `export/` has all of them as tables. Read them with the
suite, which checks the files and says what a column means (`docs/results.md`):

```python
from benchmark import read_runs
from huggingface_hub import snapshot_download

runs = read_runs(snapshot_download("{name}", repo_type="dataset", local_dir="downloaded"))
print(runs.summaries())
```
"""


@dataclass(frozen=True)
class Parcel:
    """What goes to the hub.

    Attributes:
        files: place in the data set → file; the layout of the result folder, so that a copy of it is one.
        card: the text of README.md.
    """

    files: Mapping[str, Path]
    card: str


def pack(folder: Path, name: str, titles: Mapping[str, str], license: str = "") -> Parcel:
    """Collect the runs of ``folder``, what ``verify`` and ``report`` wrote there, and their tables, which are written
    now.

    Args:
        name: ORG/NAME of the data set. titles: task → title. license: identifier for the card; empty = none is named.

    Raises:
        ConfigError: ``name`` is no such name; a run is not finished; a file holds a secret or an absolute path.
        BenchmarkError: no finished run, a file that cannot be read or was altered, or a link that leads out.
    """
    if not REPOSITORY.fullmatch(name):
        raise ConfigError(f"push {name}: a data set is called ORG/NAME.")
    results = read(folder, method_order=ORDER, task_titles=titles)
    if left := [f"{run.name} ({run.reason})" for run in results.ignored]:
        raise ConfigError(f"push {folder.name}: {', '.join(left[:5])}{' …' if len(left) > 5 else ''}: what failed must "
                          f"not be left out silently. Repeat the run command, or remove them with `clean`.")
    runs = Runs(folder, results)
    whole = {path.stem for path in runs.export(folder, "parquet")} - ({"updates"} if runs.updates().empty else set())
    files = {path.relative_to(folder).as_posix(): within(folder, path) for path in _files(folder, results, whole)}
    refuse(files)
    return Parcel(files, card(results, name, [table for table in TABLES if table in whole], license))


def _files(folder: Path, results: Results, tables: set[str]) -> Iterator[Path]:
    for run in sorted(results.runs, key=lambda run: run.name):
        yield from (path for path in (folder / run.name / file for file in FILES) if path.is_file())
        yield from sorted((folder / run.name / "adapters").rglob("*.safetensors"))
    yield from (path for path in sorted((folder / "report").glob("*.*")) if path.is_file())
    yield from filter(Path.is_file, (folder / "verify.json", folder / "verify.md"))
    yield from (folder / "export" / f"{table}.parquet" for table in sorted(tables))


def refuse(files: Mapping[str, Path]) -> None:
    """ConfigError if a text file holds a secret, or a path of this or another machine; names file and line, and never
    the secret itself."""
    own = {value for name, value in os.environ.items() if SECRET_NAMES.search(name) and len(value) >= 12}
    roots = {str(root) for root in (Path.home(), Path.cwd(), Path(tempfile.gettempdir())) if len(root.parts) > 1}
    for place, path in files.items():
        if path.suffix not in TEXTS:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if SECRETS.search(line) or any(value in line for value in own):
                raise ConfigError(f"push: {place}, line {number}, holds what looks like a secret. Nothing was sent: "
                                  f"find out how it came there, and withdraw it where it was issued.")
            if (found := PLACES.search(line)) or any(f"{root}{os.sep}" in line for root in roots):
                said = f", {found[0][:60]}" if found else ""
                raise ConfigError(f"push: {place}, line {number}, holds an absolute path{said}. Nothing was sent: make "
                                  f"those runs again with folders given relative to where you are.")


def card(results: Results, name: str, tables: list[str], license: str) -> str:
    """The card: what was run, the table over all tasks with its cautions, and how to read the files."""
    from huggingface_hub import DatasetCardData

    extra: dict[str, Any] = {"license": license} if license else {}
    head = DatasetCardData(
        pretty_name=f"{name.partition('/')[2]}: zeroth-order preference benchmark",
        tags=["zeroth-order-optimization", "preference-optimization", "rlhf", "benchmark-results"],
        configs=[{"config_name": table, "data_files": f"export/{table}.parquet"} for table in tables], **extra)
    sheet = overall.overall(results, [per_task.build(results, task) for task in results.tasks], improvements(results))
    words = [f"**{results.reduced()}.**", ""] if results.reduced() else []
    return "\n".join([f"---\n{head.to_yaml()}\n---", "", f"# {name.partition('/')[2]}", "", *words,
                      CARD.format(name=name), *what_was_run(results), formats.to_markdown(sheet)])


def push(parcel: Parcel, name: str, private: bool, api: Any = None) -> str:
    """Send it in one commit, so that the data set is old or new as a whole; returns its address.

    Runs, tables and report files of an earlier push that are gone from the folder are removed; what else lies there
    stays.

    Args:
        api: stands for :class:`huggingface_hub.HfApi`, which uses the user's own login.

    Raises:
        ConfigError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = api or HfApi()
    try:
        address = api.create_repo(name, repo_type="dataset", private=private or None, exist_ok=True)
        stale = [place for place in api.list_repo_files(name, repo_type="dataset") if place not in parcel.files
                 and (place.startswith(("export/", "report/")) or NAME.match(place.partition("/")[0]))]
        operations = [CommitOperationAdd("README.md", parcel.card.encode()),
                      *(CommitOperationAdd(place, path) for place, path in parcel.files.items()),
                      *map(CommitOperationDelete, stale)]
        api.create_commit(name, operations, repo_type="dataset", commit_message=f"{len(parcel.files)} files of results")
    except Exception as error:  # of the library's, the network's and the hub's
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"push {name}: {type(error).__name__}: {said}. Log in by `hf auth login` with a token that "
                          f"may write there, or try again.") from None
    return str(address)
