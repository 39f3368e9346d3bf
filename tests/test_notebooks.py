"""The notebooks run from top to bottom, on synthetic people and with small models."""

from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / 'notebooks').glob('*.ipynb'))
TIMEOUT = 300  # seconds per cell, on a machine that does much else


def read(path):
    nbformat = pytest.importorskip('nbformat')
    return nbformat.read(path, as_version=4)


def test_there_are_three_without_outputs():
    assert [path.stem for path in NOTEBOOKS] == ['compare_truncations', 'fine_tune', 'infer']
    for path in NOTEBOOKS:
        for cell in read(path).cells:
            assert cell.get('outputs', []) == [] and cell.get('execution_count') is None, path.name


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    folder = tmp_path / 'notebooks'
    folder.mkdir()
    notebook = read(path)
    resources = {'metadata': {'path': str(folder)}}
    nbclient.NotebookClient(notebook, timeout=TIMEOUT, kernel_name='python3', resources=resources).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert all(cell.execution_count for cell in cells)
    pictures = [output for cell in cells for output in cell.outputs if image_of(output)]
    assert pictures, f'{path.name} shows no picture'


def image_of(output):
    return any(kind.startswith('image/') for kind in output.get('data', {}))
