"""``docs/own-data.md``, followed word for word in a folder of its own."""

from __future__ import annotations

import json

from tests.pages import SMALL, blocks, carry_out, commands


def test_own_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for language, name, text in blocks("own-data.md"):
        if language == "python":
            (tmp_path / name).write_text(text, encoding="utf-8")
    for words in commands("own-data.md"):
        assert carry_out(words, tmp_path, {"run": SMALL}) == 0, words
    said = capsys.readouterr().out
    assert "400 rows read, " in said and "1 of 1 runs repeat" in said
    table = (tmp_path / "results/runs/own/report/table_preferences.md").read_text(encoding="utf-8")
    assert "RLOO" in table and "MeZO" in table and "Own preferences" in table
    (run,) = (tmp_path / "results/runs/own").glob("preferences__rloo__s0__*")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["config"]["preferences"]["prompt"] == "question" and str(tmp_path) not in json.dumps(config)
