"""Text of data sets, models and error messages is data: it may never become markup, a link or a command."""

from __future__ import annotations

import re
import unicodedata

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # a row that begins with [ would be read as the argument of the \\ before it
    "]": "{]}",
    "*": "{*}",  # and one that begins with * as its starred form
    "π": r"$\pi$",
    "₀": r"$_0$",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "…": r"\ldots{}",
    "⁶": r"$^6$",
    "₊": r"$_+$",
    "₋": r"$_-$",
    "‖": r"$\Vert$",
    "ε": r"$\varepsilon$",
    "θ": r"$\theta$",
    "Δ": r"$\Delta$",
    "√": r"$\surd$",
    "†": r"$\dagger$",
}
_MARKDOWN = set("\\`*_{}[]#|~$!^")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # what makes a spreadsheet compute a cell, full-width forms included
# A figure may begin with its sign: numbers, brackets, and the words that stand between them.
_FIGURE = re.compile(r"[+-](?:[\d.,\s±†→−–+()\[\]%-]|[eE](?=[+-]?\d)|to|of|n/a|diverged)*")


def visible(text: str) -> str:
    """``text`` with control and text-direction characters shown as U+FFFD; newlines and tabs are kept."""
    kept = (c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "\ufffd" for c in text)
    return "".join(kept)


def latex(text: str) -> str:
    """``text`` for LaTeX; characters that pdflatex cannot set by default become ``[U+XXXX]``."""
    parts = []
    for c in " ".join(visible(text).split()):
        if c in _LATEX:
            parts.append(_LATEX[c])
        elif c.isascii() or "\u00c0" <= c <= "\u00ff":
            parts.append(c)
        else:
            parts.append(f"{{[}}U+{ord(c):04X}{{]}}")
    return "".join(parts)


def markdown(text: str, limit: int | None = None) -> str:
    """``text`` as one line of literal Markdown (safe in a table cell); line ends become ``<br>``.

    Args:
        limit: characters kept; a longer text ends in "…".
    """
    text = visible(text).strip()
    if limit is not None and len(text) > limit:
        text = text[:limit].rstrip() + "…"
    lines = ["".join(_HTML.get(c) or (f"\\{c}" if c in _MARKDOWN else c) for c in line) for line in text.split("\n")]
    # Bare addresses turn into links without any bracket.
    return "<br>".join(lines).replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def csv_cell(value: object) -> str:
    """``value`` as a cell that no spreadsheet computes: text that begins like a formula gets an apostrophe before it.

    Signed figures stay as they are. (OWASP, CSV injection.)
    """
    text = visible(str(value))
    if text.lstrip()[:1] in tuple(_FORMULA) and not _FIGURE.fullmatch(text):
        return f"'{text}"
    return text
