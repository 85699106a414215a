"""The golden runs as a page: with hyperparameters, reference levels, an ablation row, and texts that are hostile."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmark.reporting.read import reader
from benchmark.reporting.tables import per_task
from benchmark.reporting.tables.sheets import Sheet
from benchmark.reporting.webpage import render
from tests.benchmark.reporting.golden import make

HOSTILE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2></script><!-- &lt; \u2028 \u202eevil"
LEVELS = {"wmt20_mlqe": 2.0, "hh_rlhf": 0.5}
ORDER = (*make.METHOD_ORDER, "zopro-random")
SHEETS = (
    Sheet("overall", "Over all tasks", "Every method.", ("method", "score [IQM]", "words"),
          (("RLOO", "10.5 (9 to 11)", "a"), ("ZOPrO", "+9.25", HOSTILE), ("MeZO", "−1,200", "b"),
           ("random only (a = 0)", "not reached", "c")), ("A note.",), "reduced protocol (2 seeds), not comparable"),
    Sheet("equal", "At equal compute", "", ("task", "method", "value"), (("wmt", "ZOPrO", "–"),)),
)


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """Folder of the golden runs, changed as said above; ``zopro-random`` is a copy of ``zopro`` on one task."""
    out = tmp_path_factory.mktemp("page") / "runs"
    make.write_runs(out)
    for folder in sorted(out.glob("wmt20_mlqe__zopro__*")):
        copy = out / folder.name.replace("zopro", "zopro-random")
        shutil.copytree(folder, copy)
        edit(copy / "config.json", lambda config: config["run"].update(method="zopro-random"))
    for folder in sorted(path for path in out.iterdir() if (path / "summary.json").is_file()):
        task, method = folder.name.split("__")[:2]
        level = LEVELS[task]
        settings = {"evaluation": {"reference_increase": level}, "method": {"lr": 0.25, "schedule": f"of {method}"}}
        edit(folder / "config.json", lambda config, settings=settings: config.update(config=settings))
        edit(folder / "environment.json", lambda found, level=level: found["preparation"].update(reward_sd=level))
        sample = json.loads((folder / "samples.jsonl").read_text(encoding="utf-8"))
        sample["completion"] += HOSTILE
        lines = [{**sample, "prompt": f"{i} {sample['prompt']}", "reference": "long " * 400} for i in range(6)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "samples.jsonl").write_text(text, encoding="utf-8")
    for folder in out.glob("*__mezo__*"):
        if (folder / "summary.json").is_file():
            edit(folder / "summary.json", lambda summary: summary["warnings"].append(f"odd: {HOSTILE}"))
    return out


@pytest.fixture(scope="session")
def results(runs):
    return reader.read(runs, method_order=ORDER, task_titles={"wmt20_mlqe": "WMT20 <b>MLQE</b>"})


@pytest.fixture(scope="session")
def built(results):
    return [per_task.build(results, task) for task in results.tasks]


@pytest.fixture(scope="session")
def page(results, built) -> str:
    return render(results, built, SHEETS)


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text inside each script, style, cell and list item."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data


@pytest.fixture(scope="session")
def elements(page) -> Elements:
    return Elements(page)
