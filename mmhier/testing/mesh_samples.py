"""Consistent samples of mesh recovery without images: bodies in random poses, seen by a known camera.

The fields are those of :mod:`mmhier.mesh_sample`.
"""

from pathlib import Path

import numpy as np
import torch
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample
from torch import Tensor

from mmhier.body_models.model_directory import load_body_model
from mmhier.geometry.cameras import full_focal_length, perspective_projection
from mmhier.mesh_sample import PARTS, SampleLayout, sample_layout

IMAGE_WH = (320, 240)
DISTANCE = 60.0  # metres at the assumed focal length: about a third of the image's height
UPRIGHT = (np.pi, 0.0, 0.0)


def random_mesh_samples(
    count: int,
    seed: int = 0,
    input_size_wh: tuple[int, int] | None = None,
    dataset_name: str = 'synth',
    layout: str | SampleLayout = 'smpl',
    body: str | Path = 'open',
) -> list[dict]:
    """Make packed samples with noise for images.

    Args:
        count: How many.
        seed: Random seed.
        input_size_wh: Width and height of ``inputs``; by default the layout's.
        dataset_name: Name of the data set in the samples.
        layout: Of the samples.
        body: The body model, see :func:`mmhier.body_models.model_directory.load_body_model`.

    Returns:
        Dictionaries with ``inputs`` and ``data_samples``.
    """
    layout = sample_layout(layout)
    rng = np.random.default_rng(seed)
    drawn = {'global_orient': UPRIGHT + rng.normal(0, 0.1, (count, 1, 3))}
    drawn |= {name: rng.normal(0, 0.2, (count, number, 3)) for name, number in layout.rotations.items()}
    drawn |= {name: rng.normal(0, 1, (count, number)) for name, number in layout.coefficients.items()}
    parameters = {name: torch.tensor(value, dtype=torch.float32) for name, value in drawn.items()}
    transl = torch.tensor(rng.normal([0, 0, DISTANCE], [0.5, 0.3, 3], (count, 3)), dtype=torch.float32)
    whole = dict(num_expressions=layout.num_expressions, add_hand_means=True) if layout.has_parts else {}
    posed = load_body_model(body, layout.joints, layout.num_betas, **whole)(**parameters, transl=transl)
    size = torch.tensor(IMAGE_WH, dtype=torch.float32)
    focal = full_focal_length(size)
    keypoints = perspective_projection(posed.joints, None, focal, (size / 2).expand(count, 2))
    samples = []
    for index in range(count):
        own = {name: value[index : index + 1] for name, value in parameters.items()}
        sample = _sample(layout, keypoints[index], posed.joints[index], own)
        wh = input_size_wh or layout.input_size_wh
        sample.set_metainfo(
            dict(
                sample_key=f'{dataset_name} {index}', dataset_name=dataset_name, sample_idx=index,
                img_path='', img_shape=wh[::-1], input_size=wh,
            )
        )  # fmt: skip
        inputs = torch.tensor(rng.integers(0, 256, (3, *wh[::-1])), dtype=torch.uint8)
        samples.append(dict(inputs=inputs, data_samples=sample))
    return samples


def _sample(
    layout: SampleLayout, keypoints: Tensor, joints: Tensor, parameters: dict[str, Tensor]
) -> PoseDataSample:
    """A sample of joints in pixels (K, 2) and metres (K, 3), and of parameters (1, ...)."""
    low, high = keypoints.amin(0), keypoints.amax(0)
    center, scale = (low + high) / 2, high - low
    box_size = float(1.2 * scale.max())
    known, confidence = torch.ones(1), torch.ones(len(keypoints), 1)
    in_crop = (keypoints - center) / box_size
    labels = dict(
        parameters,
        keypoints_2d=torch.cat([in_crop, confidence], 1)[None],
        keypoints_3d=torch.cat([joints, confidence], 1)[None],
        has_global_orient=known,
        **dict.fromkeys(layout.known_by, known),
    )
    if layout.has_parts:
        parts = [_in_part(layout, part) for part in PARTS]
        boxes = [torch.cat([in_crop[part].amin(0), in_crop[part].amax(0), known]) for part in parts]
        labels |= dict(fitted_keypoints_2d=labels['keypoints_2d'], part_boxes=torch.stack(boxes)[None])
    sample = PoseDataSample(
        metainfo=dict(
            layout=layout.name,
            ori_shape=IMAGE_WH[::-1],
            box_center=center.numpy(),
            box_size=box_size,
            box_rotation=0.0,
            flip=False,
            crop_matrix=layout.crop_size / box_size * np.c_[np.eye(2), box_size / 2 - center.numpy()],
        )
    )
    sample.gt_instance_labels = InstanceData(**{name: value.numpy() for name, value in labels.items()})
    sample.gt_instances = InstanceData(
        keypoints=keypoints[None].numpy(),
        keypoints_confidence=confidence.numpy().T,
        bbox_centers=center[None].numpy(),
        bbox_scales=scale[None].numpy(),
    )
    return sample


def _in_part(layout: SampleLayout, part: str) -> list[int]:
    """Numbers of a part's joints: fingers, or the outline of the face."""
    side = part.removesuffix('_hand')
    fingers = ('thumb', 'index', 'middle', 'ring', 'pinky')
    return [
        number
        for number, name in enumerate(layout.joints.names)
        if ('contour' in name if part == 'face' else name.startswith(tuple(f'{side}_{f}' for f in fingers)))
    ]
