"""Results on the hub: what is sent and what is refused, rehearsed against a stand-in, without network."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetCard

from benchmark import read_runs
from benchmark.cli import main
from benchmark.studies import publish
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.test_frames import ABLATION

NAME = "somebody/results"


@pytest.fixture
def folder(tmp_path):
    """Finished runs only, a log of updates, a report and an adapter."""
    shutil.copytree(make.RUNS, tmp_path / "runs")
    for path in (tmp_path / "runs").iterdir():
        if path.is_dir() and not (path / "summary.json").is_file():
            shutil.rmtree(path)
    run = next((tmp_path / "runs").glob("hh_rlhf__zopro__s0__*"))
    shutil.copy(next(ABLATION.glob("*zopro__s0*/updates.jsonl")), run)
    for place in ("adapters/iteration_0/policy.safetensors", "checkpoints/last.pt", "notes.txt"):
        (run / place).parent.mkdir(parents=True, exist_ok=True)
        (run / place).write_bytes(b"numbers")
    (tmp_path / "runs" / "report").mkdir()
    (tmp_path / "runs" / "report" / "report.md").write_text("# Report\n")
    (tmp_path / "runs" / ".env").write_text("TOKEN=...")
    return tmp_path / "runs"


class Hub:
    """A data set on a hub: place → bytes."""

    def __init__(self, folder: Path):
        self.folder, self.asked = folder, []

    def create_repo(self, repo_id, *, repo_type=None, private=None, exist_ok=False):
        assert repo_type == "dataset" and exist_ok
        self.asked.append((repo_id, private))
        return f"https://hub/datasets/{repo_id}"

    def list_repo_files(self, repo_id, *, repo_type=None):
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def create_commit(self, repo_id, operations, *, commit_message, repo_type=None):
        assert repo_type == "dataset" and commit_message
        for operation in operations:
            path = self.folder / operation.path_in_repo
            if isinstance(operation, CommitOperationDelete):
                path.unlink()
                continue
            assert isinstance(operation, CommitOperationAdd)
            path.parent.mkdir(parents=True, exist_ok=True)
            with operation.as_file() as file:
                path.write_bytes(file.read())


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    return hub


def test_what_comes_back_is_a_result_folder(folder, hub, capsys):
    assert main(["push", str(folder), NAME, "--private", "--license", "cc-by-4.0"]) == 0
    assert hub.asked == [(NAME, True)] and f"https://hub/datasets/{NAME}" in capsys.readouterr().out
    there, sent = read_runs(hub.folder), set(hub.list_repo_files(NAME))
    pd.testing.assert_frame_equal(there.summaries(), read_runs(folder).summaries())
    assert {"report/report.md", "export/curves.parquet", "export/updates.parquet"} <= sent
    assert sum(place.endswith("policy.safetensors") for place in sent) == 1
    assert not [place for place in sent if Path(place).name in ("last.pt", "notes.txt", ".env")]


def test_the_card_says_what_was_run_and_where_the_tables_are(folder, hub, capsys):
    assert main(["push", str(folder), NAME, "--license", "cc-by-4.0"]) == 0
    text = (hub.folder / "README.md").read_text(encoding="utf-8")
    card = DatasetCard(text)
    assert card.data.license == "cc-by-4.0"
    for config in card.data.configs:
        assert len(pd.read_parquet(hub.folder / config["data_files"]))
    assert {config["config_name"] for config in card.data.configs} == {"curves", "updates", "summaries"}
    assert "reduced protocol (1 seed), not comparable" in text and "ZOPrO" in text and f'"{NAME}"' in text
    assert "license" not in publish.pack(folder, NAME, {}).card


def test_a_second_push_removes_runs_that_are_gone_and_nothing_else(folder, hub):
    assert main(["push", str(folder), NAME]) == 0
    (hub.folder / "LICENSE").write_text("theirs")
    gone = next(folder.glob("wmt20_mlqe__mezo__*"))
    shutil.rmtree(gone)
    assert main(["push", str(folder), NAME]) == 0
    assert not [place for place in hub.list_repo_files(NAME) if place.startswith(gone.name)]
    assert (hub.folder / "LICENSE").is_file()


def test_a_dry_run_sends_nothing(folder, hub, capsys):
    assert main(["push", str(folder), NAME, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "not sent" in said and "export/curves.parquet" in said and "pretty_name" in said
    assert not hub.asked and not hub.folder.exists()


def test_runs_that_are_not_finished_are_not_left_out_silently(hub, tmp_path, capsys):
    shutil.copytree(make.RUNS, tmp_path / "all")
    assert main(["push", str(tmp_path / "all"), NAME]) == 2
    said = capsys.readouterr().err
    assert "(failed)" in said and "(unfinished)" in said and not hub.asked


@pytest.mark.parametrize(("text", "words"), [
    ("hf_" + "a" * 34, "secret"),
    ("-----BEGIN RSA PRIVATE KEY-----", "secret"),
    ("the value of a variable", "secret"),
    ('{"path": "/home/somebody/models/x"}', "an absolute path, /home/somebody"),
    (r'{"path": "C:\\Users\\somebody\\x"}', "an absolute path"),
])
def test_secrets_and_places_are_named_and_nothing_is_sent(text, words, folder, hub, monkeypatch, capsys):
    monkeypatch.setenv("SOME_API_KEY", "the value of a variable")
    (folder / "report" / "report.md").write_text(f"# Report\n\n{text}\n")
    assert main(["push", str(folder), NAME]) == 2
    said = capsys.readouterr().err
    assert f"report/report.md, line 3, holds {words}" in said.replace("what looks like a ", "")
    assert not hub.asked and not ("secret" in words and text in said)


def test_texts_with_slashes_are_no_places(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"prompt": "SUBREDDIT: r/AskReddit /r/relationships, he/she and https://a.b/home/x, 1/2"}')
    publish.refuse({"samples.jsonl": path})


@pytest.mark.parametrize("name", ["results", "a/b/c", "../results", "a b/c"])
def test_a_data_set_has_an_owner_and_a_name(name, folder, capsys):
    assert main(["push", str(folder), name]) == 2 and "ORG/NAME" in capsys.readouterr().err


def test_what_the_hub_refuses_is_said_with_the_remedy(folder, hub, monkeypatch, capsys):
    def refused(*_, **__):
        raise huggingface_hub.utils.LocalTokenNotFoundError("no token")

    monkeypatch.setattr(hub, "create_repo", refused)
    assert main(["push", str(folder), NAME]) == 2 and "hf auth login" in capsys.readouterr().err


def test_the_stand_in_has_the_interface_of_the_library():
    for name in ("create_repo", "list_repo_files", "create_commit"):
        ours, theirs = (inspect.signature(getattr(cls, name)).parameters for cls in (Hub, huggingface_hub.HfApi))
        assert set(ours) <= set(theirs)
