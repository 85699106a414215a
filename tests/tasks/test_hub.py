"""The hub path, with a stand-in for ``datasets.load_dataset``: mapping, revision, offline advice."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmark.core.errors import DataError
from tasks import get_task
from tests.tasks.helpers import NAMES, rows_of, write_folder

datasets = pytest.importorskip("datasets")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Rows(list):
    """A split: rows, and where the library says they come from."""

    info = SimpleNamespace(download_checksums={f"hf://datasets/some/set@{COMMIT}/data.parquet": {}})


def hub_rows(name):
    train, held_out = rows_of(name)
    if name == "wmt20_mlqe":

        def columns(row):
            return {
                "translation": {"en": row["original"], "de": row["translation"]},
                "z_mean": float(row["z_mean"]),
            }

        middle = len(held_out) // 2
        return {
            "train": Rows(map(columns, train)),
            "validation": Rows(map(columns, held_out[:middle])),
            "test": Rows(map(columns, held_out[middle:])),
        }
    if name == "summarize_from_feedback":  # a list of objects may come back as an object of lists
        for row in train:
            row["summaries"] = {key: [one[key] for one in row["summaries"]] for key in row["summaries"][0]}
        return {"train": Rows(train), "validation": Rows(held_out)}
    return {"train": Rows(train), "test": Rows(held_out)}


@pytest.mark.parametrize("name", NAMES)
def test_hub_rows_give_the_same_examples_as_files(monkeypatch, tmp_path, name):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or hub_rows(name))
    task = get_task(name)
    data = task.load("hub")
    write_folder(tmp_path, name, *rows_of(name))
    local = task.load("local", folder=tmp_path)
    assert data.preferences["train"] == local.preferences["train"]
    assert data.rows.used == 80 and data.source == "hub" and data.gold is None
    assert data.revision == COMMIT
    assert asked[0][0] == ((task.hub_dataset, task.hub_config) if task.hub_config else (task.hub_dataset,))


@pytest.mark.parametrize("name", NAMES)
def test_offline_says_what_to_do(monkeypatch, name):
    def offline(*arguments, **options):
        raise ConnectionError("Couldn't reach the Hub\nlong trace")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=r"Couldn't reach the Hub\. .*network.*--data FOLDER.*bundled"):
        get_task(name).load("hub")


def test_the_real_library_offline_fails_with_the_same_advice(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="--data FOLDER"):
        get_task("hh_rlhf").load("hub")


def test_a_loading_script_falls_back_to_the_converted_files(monkeypatch):
    asked = []

    def scripts_are_gone(*arguments, revision=None):
        asked.append(revision)
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found some.py")
        return hub_rows("summarize_from_feedback")

    monkeypatch.setattr(datasets, "load_dataset", scripts_are_gone)
    assert get_task("summarize_from_feedback").load("hub").rows.used == 80
    assert asked == [None, "refs/convert/parquet"]


def test_other_splits_than_expected_are_an_error(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: {"everything": Rows()})
    with pytest.raises(DataError, match=r"has splits everything, not train"):
        get_task("hh_rlhf").load("hub")
