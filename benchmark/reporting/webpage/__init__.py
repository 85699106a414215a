"""The page: summary, curves, tables, samples and provenance in one HTML file that needs no network and no other file.

Texts of data sets, models and error messages are data: Jinja2 escapes every one that becomes markup, and what the
scripts read is a JSON block whose strings they insert by ``textContent`` alone. A content security policy admits the
page's own scripts and styles by their SHA-256 and nothing else (W3C, Content Security Policy Level 3).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2

from benchmark.core import escape
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet
from benchmark.reporting.webpage import blocks, facts, payload

SCRIPTS = ("svg.js", "chart.js", "page.js")  # of every page
REPORT = ("samples.js", "report.js")


def render(results: Results, tables: Sequence[Table], sheets: Sequence[Sheet]) -> str:
    """The whole page as HTML.

    The same results give the same text: no clock, no random identifier and no path enters it.

    Args:
        results: finished runs. tables: one a task, in the order of the page. sheets: tables over all tasks; the one
            with the key "overall" stands in the summary, the others with the tables.
    """
    looks = payload.methods(results.methods)
    marks = {look["label"]: f"method-{i}" for i, look in enumerate(looks)}
    built = [blocks.of(sheet, marks) for sheet in sheets]
    return page(
        "template.html", REPORT, looks, payload.page(results, tables, looks),
        summary=facts.summary(results),
        overall=[block for block in built if block.key == "overall"],
        blocks=[block for block in built if block.key != "overall"] + [blocks.of(table, marks) for table in tables],
        tasks=[{"key": t.task, "title": t.title, "reduced": t.reduced,
                "n": payload.counted([len(row.seeds) for row in t.rows])} for t in tables],
        provenance=facts.provenance(results),
        settings=blocks.of_settings(results, marks),
        shared=blocks.of_shared_settings(results),
        missing=results.gaps(),
        runs=[run.name for task in results.tasks for run in results.of(task)],
    )


def page(template: str, scripts: Sequence[str], looks: Sequence[Mapping[str, Any]], data: Any, package: str = __name__,
         **values: Any) -> str:
    """A page of its own: ``template``, which extends ``layout.html``, with style, scripts and data in it.

    Args:
        looks: of what the scripts draw; the i-th is the CSS class ``method-i``.
        data: what the scripts read.
        package: where ``template`` and ``scripts`` are.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _asset(name, package)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Markup is a str of its own type: only text that is not yet markup is made visible, then escaped.
        finalize=lambda value: escape.visible(value) if type(value) is str else value,
    )
    style = _asset("page.css") + "".join(f".method-{i} {{--colour: {m['colour']};}}\n" for i, m in enumerate(looks))
    script = "".join(_asset(name, package) for name in (*SCRIPTS, *scripts))
    script = f'(() => {{\n"use strict";\n{script}}})();\n'
    return environment.get_template(template).render(
        style=style, script=script, style_hash=_hash(style), script_hash=_hash(script), data=embed(data), **values)


def embed(value: Any) -> str:
    """``value`` as JSON that can stand inside ``<script>``: nothing in it can close the block or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _asset(name: str, package: str = __name__) -> str:
    """A file of ``package``, or of this one."""
    file = resources.files(package).joinpath(name)
    return (file if file.is_file() else resources.files(__name__).joinpath(name)).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
