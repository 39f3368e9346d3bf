"""Inputs of every kind: pictures of a folder, one of them damaged, a tar, and a file that is missing."""

import io
import tarfile

import cv2
import numpy as np
import pytest

from mmhier.labelling.labeller import Job

MODEL, WEIGHTS = 'swinpose_micro_s3_synth', 'swinpose-micro'


@pytest.fixture
def make_tar():
    """Writes a tar of files by name."""

    def make(path, members):
        with tarfile.open(path, 'w') as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def encoded(pictures):
    """Twelve pictures as JPEG."""
    turned = [*pictures, *(np.ascontiguousarray(picture[::-1]) for picture in pictures)]
    return [cv2.imencode('.jpg', picture)[1].tobytes() for picture in turned]


@pytest.fixture
def inputs(tmp_path, encoded, make_tar):
    """Folder, tar and a missing file, and the sources that results have to have."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(8):
        (folder / f'{number}.jpg').write_bytes(encoded[number])
    (folder / '3.jpg').write_bytes(encoded[3][:200])
    (folder / 'notes.md').write_text('none')
    members = {f'more/{number:04d}.jpg': encoded[number] for number in (8, 9, 10)}
    tar = make_tar(tmp_path / 'more.tar', members | {'more/0008.json': b'{}'})
    sources = [str(folder / f'{number}.jpg') for number in range(8) if number != 3]
    return [str(folder), str(tar), str(tmp_path / 'none.jpg')], [
        *sources,
        *(f'{tar}/{name}' for name in members),
    ]


@pytest.fixture
def make_job(tmp_path):
    """Settings of a small model on the CPU, and where its results go."""

    def make(folder='out', boxes=None, formats=('json',), **model):
        given = dict(model=MODEL, weights=WEIGHTS, device='cpu', detector='whole_image', batch_size=4)
        place = folder if '://' in folder else str(tmp_path / folder)
        return Job(given | model, boxes, place, formats, 10**6)

    return make
