"""``mmhier demo``: synthetic people, and what the two small models that come with mmhier find, as pictures.

No network, no data set, no licence form. People are rendered, boxes are the renderer's; poses and meshes are
the models'.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mmhier.body_models.model_directory import load_body_model
from mmhier.body_models.open_body import load_open_body
from mmhier.cli.numbers import not_negative
from mmhier.cli.out import check_out_folder
from mmhier.datasets.synthetic.clip import render_walk
from mmhier.datasets.synthetic.generator import generate, parameters_of
from mmhier.datasets.synthetic.people import BodyKit
from mmhier.datasets.synthetic.walking import walk
from mmhier.inference.inferencer import Inferencer
from mmhier.media.writers import VideoWriter, write_image
from mmhier.results.earlier import earlier_files
from mmhier.results.writer import ResultWriter
from mmhier.visualization.skeleton import contact_sheet

POSE, MESH = 'swinpose_micro_s3_varied', 'swinhmr2_micro_s3_varied'
# By name, since a file in pretrained/ or work_dirs/ would be taken before them.
WEIGHTS = {POSE: 'swinpose-micro', MESH: 'swinhmr2-micro'}
NUM_SCENES, COLUMNS = 8, 2
# Options of the walk: from the left to the right, a little towards the camera.
WALK = dict(
    frames=54,
    fps=20.0,
    start=(-1.2, 3.8),
    heading=75,
    speed=0.9,
    focal=480.0,
    image_hw=(360, 480),
    height=1.0,
)
FOV = math.degrees(2 * math.atan(WALK['image_hw'][1] / 2 / WALK['focal']))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--out', default='mmhier_demo', help='folder of the results (default: %(default)s)')
    parser.add_argument('--seed', type=not_negative, default=0, help='other people (default: %(default)s)')
    parser.add_argument('--no-show', action='store_true', help='do not open the picture in a viewer')


def run(args: argparse.Namespace) -> int:
    """Render, infer, draw; say what there is and what to do next."""
    begin = time.perf_counter()
    out = Path(args.out)
    check_out_folder(out, '--out')
    _check_own(out)
    sheet = _pictures(out, args.seed)
    _clip(out, args.seed)
    print(f"""
{sheet}   skeletons, meshes and side views of synthetic people
{out}/demo_walk_overlay.mp4, ..._side.mp4, .glb   somebody who walks: in the picture, from the side, in 3D
{out}/results.json   all numbers of the walk, with units and frames
{time.perf_counter() - begin:.0f} s. The models are small and know synthetic people only, not photographs.

next: mmhier infer photo.jpg        your photo; the default model and detector are fetched on first use
      mmhier models                 all models, their weights and licences
      mmhier app --model {MESH}   a page in the browser""")
    if not args.no_show:
        _show(sheet)
    return 0


def _check_own(out: Path) -> None:
    """Refuse a folder in which a demo would write over, or remove, what is not of a demo.

    Raises:
        FileExistsError: If it is such a folder.
    """
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not any(map(_of_a_demo, out.glob('people_*'))):
        raise FileExistsError(f'--out {out} holds other files; name a folder that is empty or not there yet')
    for path in earlier_files(out):
        if path.name != 'results.json' and not path.name.startswith('demo_walk'):
            raise FileExistsError(f'--out {out} holds results of mmhier infer ({path.name}); name another')


def _of_a_demo(people: Path) -> bool:
    """Whether a demo made these people: none of them is for training."""
    return (parameters_of(people) or {}).get('num_train') == 0


def _pictures(out: Path, seed: int) -> Path:
    """Render some scenes, find poses and meshes, and draw them on one sheet."""
    people = out / f'people_{seed}'
    _tell(f'synthetic people: {people}')
    # Those of a demo by another version of mmhier are made anew.
    generate(people, 0, NUM_SCENES, seed, scenes='varied', overwrite=_of_a_demo(people), progress=False)
    boxes = str(people / 'annotations' / 'person_keypoints_val.json')
    inputs = str(people / 'images' / 'val')
    panels = []
    _tell(f'poses: {POSE}')
    for result in Inferencer(POSE, WEIGHTS[POSE])(inputs, boxes):
        panels.append([result.draw()])
    _tell(f'meshes: {MESH}')
    for panel, result in zip(panels, Inferencer(MESH, WEIGHTS[MESH])(inputs, boxes), strict=True):
        panel += [result.draw(), result.draw_side()]
    pictures = [np.concatenate(panel, axis=1) for panel in panels]
    height, width = pictures[0].shape[:2]
    return write_image(out / 'demo.jpg', contact_sheet(pictures, COLUMNS, (height, width)))


def _clip(out: Path, seed: int) -> None:
    """Render somebody who walks, and write what is found over time."""
    path, found = out / 'demo_walk.mp4', []
    _tell(f'somebody who walks: {path}')
    kit = BodyKit(load_open_body())
    truth = walk(load_body_model('open'), **WALK)
    with VideoWriter(path, truth.fps) as video:
        for frame in render_walk(kit, truth, seed):
            video.write(frame.image)
            found.append(frame.boxes)
    boxes = iter(found)  # asked for once per frame, in their order
    inferencer = Inferencer(MESH, WEIGHTS[MESH], track=True, fov=FOV)
    run = inferencer(str(path), lambda image: (box := next(boxes), np.ones(len(box))))
    with ResultWriter(out, ['json', 'overlay', 'side', 'glb'], overwrite=True) as writer, run:
        for result in run:
            writer.write(result)


def _tell(text: str) -> None:
    print(text, flush=True)


def _show(picture: Path) -> None:
    """Open a picture with what the desktop has for it, where there is one."""
    if sys.platform == 'win32':
        os.startfile(picture)
        return
    screen = sys.platform == 'darwin' or os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    program = shutil.which('open' if sys.platform == 'darwin' else 'xdg-open')
    if screen and program:
        subprocess.Popen([program, str(picture)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
