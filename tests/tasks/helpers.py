"""Small published-layout folders, written to a temporary folder, one row of each kind to spoil."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

NAMES = ("summarize_from_feedback", "wmt20_mlqe", "hh_rlhf")
COLUMNS = ("index", "original", "translation", "scores", "mean", "z_scores", "z_mean", "model_scores")


def summary_row(at: int, split: str = "train") -> dict:
    """Return one comparison as published."""
    return {
        "info": {
            "id": f"t3_{at}",
            "post": f"Post {split} {at}.",
            "title": f"Title {at}",
            "subreddit": "AskReddit",
        },
        "summaries": [
            {"text": f"good summary {at}", "policy": "ref", "note": ""},
            {"text": f"bad summary {at}", "policy": "sup", "note": ""},
        ],
        "choice": 0,
        "worker": "w",
        "batch": "batch3",
        "split": split,
        "extra": {"confidence": None},
    }


def translation_row(at: int, name: str = "train") -> dict[str, str]:
    """Return one scored translation as published."""
    return {
        "index": str(at),
        "original": f"The {name} sentence number {at}.",
        "translation": f"Der Satz mit der Nummer {at} aus {name}.",
        "scores": "[90, 80, 70]",
        "mean": "80.0",
        "z_scores": "[0.5, 0.4, 0.3]",
        "z_mean": "0.4",
        "model_scores": "-0.2",
    }


def dialogue_row(at: int, name: str = "train") -> dict[str, str]:
    """Return one pair of transcripts as published."""
    start = f"\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: {name} question {at}?\n\nAssistant:"
    return {"chosen": f"{start} Good answer {at}.", "rejected": f"{start} Go away."}


def tsv(rows: list[dict[str, str]], end: str = "\n") -> str:
    """Return rows as a published TSV."""
    return end.join("\t".join(cells) for cells in (COLUMNS, *([row[c] for c in COLUMNS] for row in rows))) + end


def json_lines(rows: list[dict], end: str = "\n") -> str:
    """Return rows as published JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)


def write(path: Path, text: str) -> Path:
    """Write text as it is (no line-end translation), gzip by the ending; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows_of(name: str) -> tuple[list[dict], list[dict]]:
    """Return 40 training and 40 held-out rows of a task."""
    make, held_out = {
        "summarize_from_feedback": (summary_row, "valid1"),
        "wmt20_mlqe": (translation_row, "dev"),
        "hh_rlhf": (dialogue_row, "test"),
    }[name]
    return [make(at) for at in range(40)], [make(at, held_out) for at in range(40)]


def write_folder(folder: Path, name: str, train: list[dict], held_out: list[dict], end: str = "\n") -> Path:
    """Write rows of one task in its published layout under ``folder`` and return the training file."""
    if name == "summarize_from_feedback":
        return write(folder / name / "comparisons/batch3.json", json_lines(train + held_out, end))
    if name == "wmt20_mlqe":
        place = folder / "wmt20_mlqe_task1/en-de"
        write(place / "dev.ende.df.short.tsv", tsv(held_out, end))
        return write(place / "train.ende.df.short.tsv", tsv(train, end))
    write(folder / "hh-rlhf/harmless-base/test.jsonl", json_lines(held_out, end))
    return write(folder / "hh-rlhf/harmless-base/train.jsonl.gz", json_lines(train, end))
