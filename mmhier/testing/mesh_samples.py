"""Consistent samples of mesh recovery without images: bodies in random poses, seen by a known camera.

The fields are those of :mod:`mmhier.mesh_sample`.
"""

import numpy as np
import torch
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from mmhier.body_models.model_directory import load_body_model
from mmhier.geometry.cameras import full_focal_length, perspective_projection
from mmhier.mesh_sample import SMPL_LAYOUT

IMAGE_WH = (320, 240)
DISTANCE = 60.0  # metres at the assumed focal length: about a third of the image's height


def random_mesh_samples(
    count: int,
    seed: int = 0,
    input_size_wh: tuple[int, int] = SMPL_LAYOUT.input_size_wh,
    dataset_name: str = 'synth',
) -> list[dict]:
    """Make packed samples with noise for images.

    Args:
        count: How many.
        seed: Random seed.
        input_size_wh: Width and height of ``inputs``.
        dataset_name: Name of the data set in the samples.

    Returns:
        Dictionaries with ``inputs`` and ``data_samples``.
    """
    rng = np.random.default_rng(seed)
    upright = np.tile([np.pi, 0, 0], (count, 1, 1))
    pose = dict(
        global_orient=upright + rng.normal(0, 0.1, (count, 1, 3)),
        body_pose=rng.normal(0, 0.2, (count, SMPL_LAYOUT.num_body, 3)),
        betas=rng.normal(0, 1, (count, SMPL_LAYOUT.num_betas)),
    )
    pose = {name: torch.tensor(value, dtype=torch.float32) for name, value in pose.items()}
    transl = torch.tensor(rng.normal([0, 0, DISTANCE], [0.5, 0.3, 3], (count, 3)), dtype=torch.float32)
    body = load_body_model('open', SMPL_LAYOUT.joints)(**pose, transl=transl)
    size = torch.tensor(IMAGE_WH, dtype=torch.float32)
    focal = full_focal_length(size)
    keypoints = perspective_projection(body.joints, None, focal, (size / 2).expand(count, 2))
    return [
        _pack(rng, index, dataset_name, keypoints[index], body.joints[index], pose, input_size_wh)
        for index in range(count)
    ]


def _pack(rng, index, dataset_name, keypoints, joints, pose, input_size_wh) -> dict:
    low, high = keypoints.amin(0), keypoints.amax(0)
    center, scale = (low + high) / 2, high - low
    box_size = float(1.2 * scale.max())
    confidence = torch.ones(len(keypoints), 1)
    sample = PoseDataSample(
        metainfo=dict(
            sample_key=f'{dataset_name} {index}',
            dataset_name=dataset_name,
            sample_idx=index,
            img_path='',
            ori_shape=IMAGE_WH[::-1],
            img_shape=input_size_wh[::-1],
            input_size=input_size_wh,
            box_center=center.numpy(),
            box_size=box_size,
            box_rotation=0.0,
            flip=False,
            crop_matrix=SMPL_LAYOUT.crop_size / box_size * np.c_[np.eye(2), box_size / 2 - center.numpy()],
        )
    )
    known = np.ones(1, np.float32)
    sample.gt_instance_labels = InstanceData(
        keypoints_2d=torch.cat([(keypoints - center) / box_size, confidence], 1)[None].numpy(),
        keypoints_3d=torch.cat([joints, confidence], 1)[None].numpy(),
        **{name: value[index : index + 1].numpy() for name, value in pose.items()},
        has_global_orient=known,
        has_body_pose=known,
        has_betas=known,
    )
    sample.gt_instances = InstanceData(
        keypoints=keypoints[None].numpy(),
        keypoints_confidence=confidence.numpy().T,
        bbox_centers=center[None].numpy(),
        bbox_scales=scale[None].numpy(),
    )
    inputs = torch.tensor(rng.integers(0, 256, (3, *input_size_wh[::-1])), dtype=torch.uint8)
    return dict(inputs=inputs, data_samples=sample)
