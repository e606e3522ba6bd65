"""Every notebook is committed without outputs, runs from top to bottom, and ends with a picture."""

from pathlib import Path

import nbformat
import pytest
from examples import mostly_swept
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PICTURES = {"image/png", "image/svg+xml", "text/html"}


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that are code and not empty, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(path: Path) -> None:
    cells = code_cells(nbformat.read(path, as_version=4))
    kept = [i for i, cell in enumerate(cells, 1) if cell.outputs or cell.execution_count]
    assert not kept, f"{path.name}: clear the outputs of code cells {kept} before committing"


@pytest.mark.parametrize("path", mostly_swept(NOTEBOOKS, NOTEBOOKS[:1]), ids=lambda path: path.stem)
def test_notebook_runs_and_ends_with_a_picture(path: Path, tmp_path: Path) -> None:
    """Sphinx runs all of them, too: `make docs`."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()

    last = code_cells(notebook)[-1]
    assert any(PICTURES & output.get("data", {}).keys() for output in last.outputs), (
        f"{path.name} should end with a picture; its last cell is\n{last.source}"
    )
