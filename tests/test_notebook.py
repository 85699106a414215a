"""The notebook of docs/: it runs from the first cell to the last, and is kept without outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "reading-results.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}


def test_it_runs_and_shows_a_table_and_a_figure(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    nbclient.NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said, table, figure = outputs
    assert said.text.startswith("225 runs of 15 methods on hh_rlhf, ")
    rows = {line.split()[0]: line.split()[1:] for line in table.data["text/plain"].splitlines()[2:]}
    assert rows["no-update"] == ["0.000", "0.000", "5"] and float(rows["rloo"][0]) > 0 and len(rows) == 15
    assert "image/png" in figure.data
