"""The notebook runs from its first cell to its last, and what is committed of it is what it is now."""

import os
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

_NOTEBOOK = Path(__file__).parents[2] / "examples" / "parecido.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(_NOTEBOOK, as_version=4)


def test_it_is_committed_with_its_pictures_and_small(notebook) -> None:
    assert _NOTEBOOK.stat().st_size < 1_000_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    headings = [line for cell in notebook.cells for line in cell.source.splitlines() if line.startswith("## ")]
    assert [heading[3] for heading in headings[:5]] == list("12345")


@pytest.mark.tensorflow
def test_it_runs(notebook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    where = {"metadata": {"path": str(_NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    printed = "".join(
        output.text for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == "stream"
    )
    assert "'items': 32" in printed
    assert "1280) float32 | comprimento 1: True" in printed
