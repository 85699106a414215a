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
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2

from benchmark.core import escape
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet
from benchmark.reporting.webpage import blocks, facts, payload

SCRIPTS = ("svg.js", "curves.js", "scores.js", "samples.js", "page.js")


def render(results: Results, tables: Sequence[Table], sheets: Sequence[Sheet]) -> str:
    """The whole page as HTML.

    The same results give the same text: no clock, no random identifier and no path enters it.

    Args:
        results: finished runs. tables: one a task, in the order of the page. sheets: tables over all tasks; the one
            with the key "overall" stands in the summary, the others with the tables.
    """
    looks = payload.methods(results)
    marks = {look["label"]: f"method-{i}" for i, look in enumerate(looks)}
    style = _asset("page.css") + "".join(f".method-{i} {{--colour: {m['colour']};}}\n" for i, m in enumerate(looks))
    script = '(() => {\n"use strict";\n' + "".join(map(_asset, SCRIPTS)) + "})();\n"
    built = [blocks.of_sheet(sheet, marks) for sheet in sheets]
    return _environment().get_template("template.html").render(
        summary=facts.summary(results),
        overall=[block for block in built if block.key == "overall"],
        blocks=[block for block in built if block.key != "overall"] + [blocks.of_table(t, marks) for t in tables],
        tasks=[{"key": t.task, "title": t.title, "reduced": t.reduced,
                "n": payload.counted([len(row.seeds) for row in t.rows])} for t in tables],
        provenance=facts.provenance(results),
        settings=blocks.of_settings(results, marks),
        shared=blocks.of_shared_settings(results),
        missing=results.gaps(),
        runs=[run.name for task in results.tasks for run in results.of(task)],
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=embed(payload.page(results, tables, looks)),
    )


def embed(value: Any) -> str:
    """``value`` as JSON that can stand inside ``<script>``: nothing in it can close the block or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Markup is a str of its own type: only text that is not yet markup is made visible, then escaped.
        finalize=lambda value: escape.visible(value) if type(value) is str else value,
    )


def _asset(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
