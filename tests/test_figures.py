"""Figures in the pages come from the files they speak of: ``python -m tests.test_figures`` writes them anew.

Between ``<!-- of … -->`` and ``<!-- end -->`` stands what a file says, and nobody edits it by hand:

``<!-- of results/reference/zo/report/table_overall.csv: RLOO / gold -->``
    one cell: the row whose first column is "RLOO", of the only column whose title contains "gold".
``<!-- of results/reference/zo/report/table_overall.csv: method | gold | KL -->``
    a table of these columns, all rows.
``<!-- of profile zo: mezo -->``
    the settings of a method under a profile that are not its published ones.
"""

import csv
import re
import textwrap
from functools import cache
from pathlib import Path

import pytest

from baselines.registry import get_method
from benchmark.plan.resolve import load_profile

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "results").glob("**/README.md"))]
MARKED = re.compile(r"<!-- of (?P<source>[^:>]+): (?P<what>.*?) -->(?P<text>.*?)<!-- end -->", re.DOTALL)


# What a reading is followed by in columns of their own → how a page writes it behind the reading.
BESIDE = {", standard error": " ±{}", ", 95 % from": " ({}", ", 95 % to": " to {})"}


@cache
def rows_of(path: str) -> list[list[str]]:
    """Header and rows, with a reading and its error or interval in one cell."""
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    columns: list[list[str]] = []
    for title, *cells in zip(header, *rows, strict=True):
        form = next((form for words, form in BESIDE.items() if title.partition(" [")[0].endswith(words)), None)
        if form and columns:
            columns[-1][1:] = [old + (form.format(new) if new else "")
                               for old, new in zip(columns[-1][1:], cells, strict=True)]
        elif not title.partition(" [")[0].endswith(", mark"):
            columns.append([title, *cells])
    return [list(line) for line in zip(*columns, strict=True)]


def column(header: list[str], part: str) -> int:
    exact = [i for i, title in enumerate(header) if title == part]
    found = exact or [i for i, title in enumerate(header) if part in title]
    assert len(found) == 1, f"{part!r} names {len(found)} of the columns {header}"
    return found[0]


def cell(path: str, row: str, part: str) -> str:
    header, *rows = rows_of(path)
    found = [values for values in rows if values[0] == row]
    assert len(found) == 1, f"{path}: {len(found)} rows are called {row!r}"
    return signed(found[0][column(header, part)])


def table(path: str, parts: list[str]) -> str:
    header, *rows = rows_of(path)
    columns = [column(header, part) for part in parts]
    lines = ["| " + " | ".join(parts) + " |", "|" + "|".join(["---", *["---:"] * (len(parts) - 1)]) + "|"]
    lines += ["| " + " | ".join(signed(row[i]) for i in columns) + " |" for row in rows]
    return "\n" + "\n".join(lines) + "\n"


def signed(text: str) -> str:
    """With a typographic minus, as the pages have it."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def settings(profile: str, name: str) -> str:
    method, config = get_method(name), load_profile(profile)
    values, published = method.resolved(config.as_dict()["methods"]), method.resolved({})
    changed = [f"`{key}` {str(value).lower()}" for key, value in values.items() if value != published[key]]
    return "\n" + textwrap.fill((", ".join(changed) or "those published") + ".", 118) + "\n"


def text_of(source: str, what: str) -> str:
    if source.startswith("profile "):
        return settings(source.removeprefix("profile "), what)
    if " / " in what:
        return cell(source, *what.split(" / "))
    return table(source, what.split(" | "))


def with_figures(page: Path) -> str:
    return MARKED.sub(lambda found: f"<!-- of {found['source']}: {found['what']} -->"
                                    f"{text_of(found['source'], found['what'])}<!-- end -->",
                      page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_figures_are_what_the_files_say(page):
    assert page.read_text(encoding="utf-8") == with_figures(page), "files have changed: python -m tests.test_figures"


def test_a_reading_and_its_error_or_interval_are_one_figure(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('m,"a, x [u]","a, x, standard error [u]","a, x, mark [u]",b,"b, 95 % from","b, 95 % to",note\n'
                    "r,+1,0.2,†,3,2,4,n\ns,n/a,,,n/a,,,n\n", encoding="utf-8")
    assert rows_of(str(path)) == [["m", "a, x [u]", "b", "note"], ["r", "+1 ±0.2", "3 (2 to 4)", "n"],
                                  ["s", "n/a", "n/a", "n"]]


def test_a_page_whose_figure_is_stale_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- of profile smoke: rloo -->1e9<!-- end -->", encoding="utf-8")
    assert "1e9" not in with_figures(page)


if __name__ == "__main__":
    for each in PAGES:
        if (new := with_figures(each)) != each.read_text(encoding="utf-8"):
            each.write_text(new, encoding="utf-8")
            print(each.relative_to(ROOT))
