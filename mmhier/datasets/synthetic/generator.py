"""Writes a synthetic data set with several processes, resumable and in one piece.

Everything is made in ``OUT.partial`` and renamed to ``OUT`` at the end, so a folder named ``OUT`` is always
complete, and it names the code that made it by a digest. Image i of a split draws its own random stream
from (seed, split, i): the bytes do not depend on the number of processes, and no stream of the training
split occurs in the validation split.
"""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from mmhier.atomic import new_file
from mmhier.body_models.open_body import load_open_body
from mmhier.body_models.open_wholebody import load_open_wholebody
from mmhier.datasets.synthetic.dataset_format import (
    SMPL_SHAPES,
    annotation_record,
    image_record,
    smpl_record,
    write_split,
)
from mmhier.datasets.synthetic.human_data_format import HUMAN_SHAPES
from mmhier.datasets.synthetic.people import BodyKit
from mmhier.datasets.synthetic.rendering import render_image
from mmhier.datasets.synthetic.scene import SCENE_STYLES
from mmhier.datasets.synthetic.whole_body_annotation import WholeBodyKit
from mmhier.digest import code_digest
from mmhier.safe_files import read_json

SPLITS = ('train', 'val')
CHUNK = 16
JPEG_QUALITY = 92
PARAMETERS_FILE = 'synth.json'
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')

_kit: BodyKit | None = None
_whole: WholeBodyKit | None = None


def image_stream(seed: int, split: str, index: int) -> np.random.Generator:
    """The random generator of one image."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index)))


def generate(
    out: str | Path,
    num_train: int,
    num_val: int,
    seed: int = 0,
    image_size_wh: tuple[int, int] = (320, 256),
    scenes: str = 'varied',
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    whole_body: bool = False,
) -> bool:
    """Make a data set, or reuse the one that is there.

    Args:
        out: folder of the data set.
        num_train: number of training images.
        num_val: number of validation images.
        seed: seed of all random streams.
        image_size_wh: width and height of the images.
        scenes: a key of ``SCENE_STYLES``.
        workers: number of processes, the number of CPU cores by default.
        overwrite: replace a data set made with other parameters.
        progress: show a progress bar.
        whole_body: people with fingers, jaws, eyes and expressions, seen from closer, with HumanData.

    Returns:
        True if images were made, False if ``out`` already holds this data set.

    Raises:
        FileExistsError: if ``out`` holds something else and ``overwrite`` is False.
        ValueError: if ``scenes`` is unknown.
    """
    out = Path(out)
    parameters = data_set_parameters(num_train, num_val, seed, image_size_wh, scenes, whole_body)
    if parameters_of(out) == parameters:
        return False
    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f'{out} holds {_describe(parameters_of(out))}, not a data set with {_describe(parameters)}. '
            'Choose another folder, or pass --overwrite to replace it (another code: by another version of '
            'mmhier; training on it as it is needs no mmhier synth).'
        )
    partial = out.with_name(out.name + '.partial')
    if partial.exists() and parameters_of(partial) != parameters:
        shutil.rmtree(partial)
    for split in SPLITS:
        (partial / 'images' / split).mkdir(parents=True, exist_ok=True)
    (partial / 'records').mkdir(exist_ok=True)
    _write_atomically(partial / PARAMETERS_FILE, json.dumps(parameters, indent=2).encode())

    _render_all(partial, parameters, workers or os.cpu_count() or 1, progress)
    (partial / 'annotations').mkdir(exist_ok=True)
    for split in SPLITS:
        paths = [
            partial / 'records' / f'{split}-{start:08d}.json'
            for start in range(0, parameters[f'num_{split}'], CHUNK)
        ]
        entries = [entry for path in paths for entry in read_json(path)]
        write_split(partial / 'annotations', split, entries, parameters)
    shutil.rmtree(partial / 'records')
    if out.exists():
        shutil.rmtree(out)
    os.replace(partial, out)
    return True


def data_set_parameters(
    num_train: int,
    num_val: int,
    seed: int,
    image_size_wh: tuple[int, int] = (320, 256),
    scenes: str = 'varied',
    whole_body: bool = False,
) -> dict[str, Any]:
    """All that decides the bytes of a data set, this package's code and the body's source included.

    For the arguments see :func:`generate`.

    Raises:
        ValueError: if ``scenes`` is unknown.
    """
    if scenes not in SCENE_STYLES:
        raise ValueError(f'scenes must be one of {sorted(SCENE_STYLES)}, got {scenes!r}')
    return {
        'code': code_digest(__name__),
        'body': (load_open_wholebody if whole_body else load_open_body)().metadata['source'],
        'num_train': num_train,
        'num_val': num_val,
        'seed': seed,
        'image_size_wh': list(image_size_wh),
        'scenes': scenes,
        'whole_body': whole_body,
    }


def parameters_of(folder: Path) -> dict[str, Any] | None:
    """What a data set was made with, or None where there is none."""
    try:
        return read_json(folder / PARAMETERS_FILE)
    except (OSError, ValueError):
        return None


def differences(folder: Path, wanted: dict[str, Any]) -> tuple[str, str] | None:
    """In what a data set differs from what is wanted, as it is and as it is wanted; None if in nothing."""
    found = parameters_of(folder)
    if found is None or found == wanted:
        return None
    changed = [name for name in wanted if wanted[name] != found.get(name)]
    return _describe({name: found.get(name) for name in changed}), _describe(
        {name: wanted[name] for name in changed}
    )


def _describe(parameters: dict[str, Any] | None) -> str:
    if parameters is None:
        return 'other files'
    return ', '.join(f'{name} {value}' for name, value in parameters.items())


def _write_atomically(path: Path, content: bytes) -> None:
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def _render_all(partial: Path, parameters: dict[str, Any], workers: int, progress: bool) -> None:
    tasks, done, total = [], 0, 0
    for split in SPLITS:
        count = parameters[f'num_{split}']
        total += count
        for start in range(0, count, CHUNK):
            task = (partial, split, start, min(start + CHUNK, count), parameters)
            if (partial / 'records' / f'{split}-{start:08d}.json').is_file():
                done += task[3] - start
            else:
                tasks.append(task)
    bar = tqdm(total=total, initial=done, desc='synthetic people', unit='img', disable=not progress)
    with bar:
        if not tasks:
            return
        # Workers are fresh processes with one thread each: sums come out the same for any number of them.
        previous = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, '1'))
        try:
            context = multiprocessing.get_context('spawn')
            with context.Pool(min(workers, len(tasks)), _start_worker, (parameters['whole_body'],)) as pool:
                for count in pool.imap_unordered(_render_chunk, tasks):
                    bar.update(count)
        finally:
            for name, value in previous.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _start_worker(whole_body: bool) -> None:
    global _kit, _whole
    # Ctrl-C is for the parent, which then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _kit = BodyKit(load_open_wholebody() if whole_body else load_open_body())
    _whole = WholeBodyKit(_kit) if whole_body else None


def _render_chunk(task: tuple[Path, str, int, int, dict[str, Any]]) -> int:
    """Render images ``start`` to ``stop`` of a split, then write their records in one step."""
    partial, split, start, stop, parameters = task
    width, height = parameters['image_size_wh']
    style = SCENE_STYLES[parameters['scenes']]
    names = SMPL_SHAPES if _whole is None else HUMAN_SHAPES
    entries = []
    for index in range(start, stop):
        rng = image_stream(parameters['seed'], split, index)
        image, intrinsics, annotations = render_image(rng, _kit, (height, width), style, _whole)
        name = f'{index + 1:08d}.jpg'
        _, encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        (partial / 'images' / split / name).write_bytes(encoded.tobytes())
        people = [
            {
                'coco': annotation_record(index + 1, a.keypoints, a.bbox, a.area, a.segmentation),
                'smpl': smpl_record(a.smpl, intrinsics, names),
            }
            for a in annotations
        ]
        entries.append({'image': image_record(index + 1, name, (height, width)), 'people': people})
    _write_atomically(partial / 'records' / f'{split}-{start:08d}.json', json.dumps(entries).encode())
    return stop - start
