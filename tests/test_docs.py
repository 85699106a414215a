"""The documentation says what the code does: links resolve, pointers hold, tables agree.

A pointer is a link to a line of code followed by what stands there: [`path:12`](../path#L12) — `fragment`.
``python -m tests.test_docs`` moves every pointer to the file and line where its fragment now stands, and prints the
tables of records anew.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from baselines import hyperparameters
from baselines.registry import METHODS, RULES
from benchmark.core import records
from benchmark.core.fields import fields_of
from benchmark.core.naming import load

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
READMES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "results").rglob("README.md"))]
POINTER = re.compile(r"\[`(?P<path>[^`:]+):(?P<line>\d+)`\]\((?P<link>[^)#\s]+)#L(?P<anchor>\d+)\)"
                     r"(?P<dash>\s+—\s+)`(?P<fragment>[^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
RECORDS = re.compile(r"(?<=<!-- records: )(\w+)( -->\n)(?:\n(?:\|.*\n)+)?")
WORDS = {dict: "object", tuple: "list", float: "number", int: "whole number", str: "text", bool: "true or false"}
TABLE = r"<!-- {}: ([\w-]+) -->\n\n?((?:\|.*\n)+)"
CLASSES = {name: cls for name, cls in vars(hyperparameters).items() if dataclasses.is_dataclass(cls)}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The page without its fenced blocks, in which nothing is a link."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def lines_with(path: Path, fragment: str) -> list[int]:
    return [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if fragment in line]


def broken(page: Path, link: str) -> bool:
    """Whether a relative link leads nowhere."""
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return True
    if re.fullmatch(r"L\d+", anchor):
        return int(anchor[1:]) > len(target.read_text(encoding="utf-8").splitlines())
    return bool(anchor) and anchor not in anchors(target)


def wrong_pointers(page: Path) -> list[str]:
    """Pointers whose label, link and line of code do not say the same, and links to lines that are no pointers."""
    text, wrong = prose(page), []
    pointers = list(POINTER.finditer(text))
    for found in pointers:
        target = (page.parent / found["link"]).resolve()
        same = found["line"] == found["anchor"] and target == ROOT / found["path"] and target.is_file()
        if not same or int(found["line"]) not in lines_with(target, found["fragment"]):
            wrong.append(found[0])
    if len(re.findall(r"#L\d+\)", text)) != len(pointers):
        wrong.append("a link to a line without the fragment that stands on it")
    return wrong


def tables(page: Path, what: str = "hyperparameters") -> dict[str, dict[str, list[str]]]:
    """Class (or method) → name → default, meaning and source, as the page's tables of ``what`` have them."""
    found = {}
    for cls, body in re.findall(TABLE.format(what), page.read_text(encoding="utf-8")):
        rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in body.splitlines()[2:]]
        assert all(len(row) == 4 and all(row) for row in rows), f"{name_of(page)}: a row of {cls} is not whole"
        found[cls] = {row[0].strip("`"): row[1:] for row in rows}
    return found


def value(text: str):
    """The default that a cell names: a Python literal, else text."""
    text = text.strip("`")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def defaults(cls: type) -> dict[str, object]:
    return {f.name: f.default for f in dataclasses.fields(cls)}


@pytest.mark.parametrize("page", [*READMES, *DOCS], ids=name_of)
def test_links_lead_somewhere(page):
    links = [link for link in LINK.findall(prose(page)) if not re.match(r"https?://", link)]
    assert [link for link in links if broken(page, link)] == []


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_pointers_show_the_line_they_name(page):
    assert wrong_pointers(page) == [], "code has moved? python -m tests.test_docs"


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_pages_are_short_and_wrapped(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 350 and [
        line for line in lines if len(line) > 120 and not line.startswith(("|", "!["))] == []  # those cannot be wrapped


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_hyperparameter_tables_agree_with_the_code(page):
    for cls, rows in tables(page).items():
        assert {name: value(text) for name, (text, _, _) in rows.items()} == defaults(CLASSES[cls])


def test_tables_of_what_a_method_publishes_otherwise_agree_with_the_registry():
    listed = {name: {row: (value(default), source) for row, (default, _, source) in rows.items()}
              for page in DOCS for name, rows in tables(page, "published").items()}
    assert listed == {name: METHODS[name].published for name in listed}
    assert {name for name, method in METHODS.items() if method.published and method.group == "main"} <= listed.keys()


def test_every_hyperparameter_class_has_one_table():
    assert sorted(cls for page in DOCS for cls in tables(page)) == sorted(CLASSES)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_page(method):
    """A main method one of its own; another one that of its parts, where it is named (on the DPO loss: as without)."""
    pages = [page for page in DOCS if page.parent.name == "methods"]
    named = any(f"`{method.removesuffix('-dpo')}`" in page.read_text(encoding="utf-8") for page in pages)
    assert method in [page.stem for page in pages] or (METHODS[method].group != "main" and named)


def test_the_table_of_rules_agrees_with_the_code():
    """The state that a rule keeps, and the methods that use it."""
    text = (ROOT / "docs" / "methods" / "rules.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (\d+) \| (.+) \|$", text, re.MULTILINE)
    assert sorted(rule for rule, _, _ in rows) == sorted(RULES)
    for rule, copies, used in rows:
        assert float(copies) == load(RULES[rule].target).copies
        assert {METHODS[name].estimator.rule for name in re.findall(r"`([\w-]+)`", used)} == {rule}


def record_rows(cls: type, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Name, type, unit and help line of every field of a record, those of objects in it after theirs."""
    for name, spec in fields_of(cls).items():
        meta = {"unit": "", "keys": {}, "spread": False} | dict(spec.metadata)
        kinds = typing.get_args(spec.type) if isinstance(spec.type, types.UnionType) else (spec.type,)
        base = typing.get_origin(kinds[0]) or kinds[0]
        empty = " (?)" if spec.default is None else "?" if types.NoneType in kinds else ""
        if not meta["spread"]:
            yield prefix + name, WORDS.get(base, "object") + empty, meta["unit"], meta["help"]
        for key, (unit, help) in meta["keys"].items():
            yield (prefix + (key if meta["spread"] else f"{name}.{key}"),
                   "object" if meta["keys"] is records.SETTINGS else "number", unit, help)
        if dataclasses.is_dataclass(base):
            yield from record_rows(base, f"{prefix}{name}.")


def with_records(page: Path) -> str:
    """The page's text with its tables of records as the code has them."""
    def table(found: re.Match[str]) -> str:
        rows = ["| field | type | unit | what |", "|---|---|---|---|"]
        rows += [f"| `{name}` | {kind} | {unit} | {help} |" for name, kind, unit, help
                 in record_rows(getattr(records, found[1]))]
        return f"{found[1]}{found[2]}\n" + "\n".join(rows) + "\n"

    return RECORDS.sub(table, page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_tables_of_records_are_what_the_code_says(page):
    assert page.read_text(encoding="utf-8") == with_records(page), "records have changed: python -m tests.test_docs"


def test_every_file_of_a_run_directory_is_described():
    text = RESULTS.read_text(encoding="utf-8")
    assert [name for name, _ in RECORDS.findall(text)] == [cls.__name__ for cls in records.FILES.values()]
    assert [name for name in records.FILES if f"## {name}\n" not in text or f"[`{name}`](" not in text] == []


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", RESULTS.read_text(encoding="utf-8"),
                                            flags=re.DOTALL | re.MULTILINE))
def test_the_examples_of_reading_results_work(code, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(compile(code, RESULTS.name, "exec"), {})
    assert "None" not in (said := capsys.readouterr().out) and len(said) > 40


def places(fragment: str) -> list[tuple[Path, int]]:
    """Every line of the code on which ``fragment`` stands."""
    files = (path for folder in ("baselines", "benchmark", "tasks") for path in sorted((ROOT / folder).rglob("*.py")))
    return [(path, line) for path in files for line in lines_with(path, fragment)]


def rewrite() -> None:
    """Print the tables of records anew. Move every pointer to where its fragment now stands, in its own file or in the
    only other one; name the rest."""
    for page in DOCS:
        def moved(found: re.Match[str], page: Path = page) -> str:
            path = (page.parent / found["link"]).resolve()
            here = [(path, line) for line in (lines_with(path, found["fragment"]) if path.is_file() else [])]
            known = here or places(found["fragment"])
            if len(known) != 1:
                if int(found["line"]) not in [line for _, line in here]:
                    print(f"{name_of(page)}: {found['path']}: {found['fragment']!r} stands on {len(known)} lines")
                return found[0]
            target, line = known[0]
            link = os.path.relpath(target, page.parent)
            return f"[`{target.relative_to(ROOT)}:{line}`]({link}#L{line}){found['dash']}`{found['fragment']}`"

        page.write_text(POINTER.sub(moved, with_records(page)), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
