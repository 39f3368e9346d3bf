"""Models ready for inference: from crops of people to their keypoints or bodies.

Both kinds have the same three steps, which :class:`mmhier.inference.inferencer.Inferencer` calls in turn:
``crop`` an image, run the ``network`` on a batch of crops, read the ``poses`` from its outputs. The network
may be the PyTorch model or an engine of :mod:`mmhier.deploy`, with the same outputs by name:

| model | outputs |
|-------|---------|
| pose  | ``heatmaps`` (B, K, h, w); or ``keypoints`` (B, K, 2), pixels of the crop, and ``scores`` (B, K) |
| mesh  | ``global_orient`` (B, 1, 3, 3), ``body_pose`` (B, J, 3, 3), ``betas`` (B, S), ``camera`` (B, 3) |

Outputs of whole bodies are those of :class:`mmhier.models.heads.smplerx_head.SMPLerXPrediction`.

Letters: B people of a batch, K keypoints, J joints of the body but the root, S shape components.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import _load_checkpoint
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.models.heads import HeatmapHead
from mmpose.models.utils.tta import flip_heatmaps
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor, nn

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.model_directory import load_body_model
from mmhier.engine.checkpoint_match import describe_mismatch
from mmhier.geometry.cameras import (
    boxes_in_crop_units,
    crop_to_full_translation,
    perspective_projection,
    weak_perspective_to_translation,
)
from mmhier.geometry.scene_camera import AUTOMATIC, FocalChoice, Placement, place_in_scene
from mmhier.inference.crops import Crop, MeshCropper, PoseCropper, make_batch
from mmhier.inference.engine_network import (
    Network,
    Outputs,
    check_engine_keypoints,
    exported_config,
    has_vitposes_codec,
    is_file,
    open_network,
)
from mmhier.results.frame_result import BodyMesh
from mmhier.student import without_teacher
from mmhier.zoo.choice import AUTO, RANDOM, choose_weights
from mmhier.zoo.conversion import Ready, convert_model, convert_model_file, converted
from mmhier.zoo.names import resolve_config

logger = logging.getLogger('mmhier')

# Names of weights that only other projects have.
_OTHERS = ('keypoint_head.', 'smpl_head.', 'backbone.embeddings.', 'backbone.cls_token')
# Parts of a mesh model that only training needs.
_PRIOR = ('discriminator', 'adversarial_loss', 'mocap')


class Pose(NamedTuple):
    """What was found in a crop.

    Attributes:
        keypoints: (K, 2) pixels of the image.
        scores: (K,).
        mesh: The body, of mesh models.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    mesh: BodyMesh | None = None


class _Estimator:
    """A model with its crops; see the top of this file.

    Args:
        model: In evaluation mode, on its device.
        cfg: Its config.
        name: How it is called in results.
        engine: 'eager', another engine's name, or an exported file.
        precision: See :func:`mmhier.inference.engine_network.open_network`.
    """

    outputs: tuple[tuple[str, ...], ...]
    keypoint_names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    crop: PoseCropper | MeshCropper

    def __init__(
        self,
        model: nn.Module,
        cfg: Config,
        name: str,
        engine: str | Path = 'eager',
        precision: str | None = None,
    ):
        self.model = model
        self.name = name
        self.device = next(model.parameters()).device
        self._engine_name, self._precision = engine, precision
        exact = str(engine) == 'eager' and precision in (None, 'fp32')
        self._network: Network | None = self._eager if exact else None

    def network(self, crops: Sequence[Crop]) -> Outputs:
        """Run the network on a batch of crops."""
        images = make_batch(list(crops), self.model.data_preprocessor, self.device)
        if self._network is None:
            self._network = open_network(self._engine_name, self.model, images, self.outputs, self._precision)
        with torch.inference_mode():
            return self._network(images)

    def poses(
        self,
        outputs: Outputs,
        crops: Sequence[Crop],
        image_hws: Sequence[tuple[int, int]],
        lenses_mm: Sequence[float | None] | None = None,
    ) -> list[Pose]:
        """Read poses from outputs.

        Args:
            outputs: Of the network.
            crops: What it was shown.
            image_hws: Sizes of the images they were cut from.
            lenses_mm: What these say about their lenses, see :class:`mmhier.media.Frame`.
        """
        raise NotImplementedError

    def _eager(self, images: Tensor) -> Outputs:
        raise NotImplementedError


class PoseEstimator(_Estimator):
    """A top-down pose model of MMPose; arguments as for the base class.

    Heads without heatmaps (SimCC, RTMPose, regression) decode by themselves, and run eagerly only.

    Args:
        model: See above.
        cfg: See above.
        name: See above.
        engine: See above.
        precision: See above.
        dataset_meta: MMPose's description of the keypoints.
        flip_test: Average with the mirrored crop.
    """

    outputs = (('heatmaps',), ('keypoints', 'scores'))

    def __init__(
        self,
        model: nn.Module,
        cfg: Config,
        name: str,
        engine: str | Path = 'eager',
        precision: str | None = None,
        dataset_meta: dict[str, Any] | None = None,
        flip_test: bool = False,
    ):
        super().__init__(model, cfg, name, engine, precision)
        meta = dataset_meta or {}
        self.crop = PoseCropper(_evaluation_pipeline(cfg))
        channels, count = getattr(model.head, 'out_channels', None), meta['num_keypoints']
        self._has_heatmaps = isinstance(model.head, HeatmapHead)
        if flip_test and not self._has_heatmaps:
            raise ValueError(f'{name}: a flip test is for heatmaps, a {type(model.head).__name__} gives none')
        plain = getattr(getattr(model.head, 'decoder', None), 'heatmap_type', 'gaussian') == 'gaussian'
        if plain and isinstance(channels, int) and channels != count:
            raise ValueError(
                f'{name}: model.head.out_channels is {channels}, but its metainfo describes {count} keypoints'
            )
        self.keypoint_names = tuple(meta['keypoint_id2name'][k] for k in range(meta['num_keypoints']))
        self.skeleton = tuple((int(a), int(b)) for a, b in meta['skeleton_links'])
        self._flip_indices = list(meta['flip_indices'])
        self._flip_test = flip_test
        self._test_cfg = model.test_cfg or {}
        if self._test_cfg.get('output_keypoint_indices'):
            raise ValueError(f'{name}: test_cfg.output_keypoint_indices is not supported; remove it')

    def network(self, crops: Sequence[Crop]) -> Outputs:
        """Run the network on a batch of crops, and on their mirror images if asked to."""
        outputs = super().network(crops)
        if not self._flip_test:
            return outputs
        if 'heatmaps' not in outputs:
            raise ValueError('a flip test needs heatmaps, and the exported file decodes them; export without')
        mirrored = [replace(crop, pixels=np.ascontiguousarray(crop.pixels[:, ::-1])) for crop in crops]
        heatmaps = flip_heatmaps(
            super().network(mirrored)['heatmaps'],
            flip_mode=self._test_cfg.get('flip_mode', 'heatmap'),
            flip_indices=self._flip_indices,
            shift_heatmap=self._test_cfg.get('shift_heatmap', False),
        )
        return dict(heatmaps=(outputs['heatmaps'] + heatmaps) * 0.5)

    def poses(
        self,
        outputs: Outputs,
        crops: Sequence[Crop],
        image_hws: Sequence[tuple[int, int]],
        lenses_mm: Sequence[float | None] | None = None,
    ) -> list[Pose]:
        """Decode heatmaps with the decoder of the model's head, if the network has not."""
        if 'keypoints' in outputs:
            keypoints, scores = (outputs[name].cpu().numpy() for name in ('keypoints', 'scores'))
            size = np.array(self.crop.input_wh)
            keypoints = keypoints * (size / (size - 1))  # the last centre at (W, H), as the codec has it
            return [Pose(self.crop.to_image(*pair), row) for *pair, row in zip(keypoints, crops, scores)]
        decoded = self.model.head.decode(outputs['heatmaps'])
        return [
            Pose(
                self.crop.to_image(found.keypoints[0], crop),
                np.asarray(found.keypoint_scores[0], np.float32),
            )
            for found, crop in zip(decoded, crops)
        ]

    def _eager(self, images: Tensor) -> Outputs:
        if self._has_heatmaps:
            return dict(heatmaps=self.model(images, None, mode='tensor'))
        found = self.model.head.predict(self.model.extract_feat(images), [], {})
        found = found[0] if isinstance(found, tuple) else found  # beside what only pictures show
        keypoints, scores = (
            torch.from_numpy(np.concatenate([getattr(one, name) for one in found]).astype(np.float32))
            for name in ('keypoints', 'keypoint_scores')
        )
        size = torch.tensor(self.crop.input_wh)
        return dict(keypoints=keypoints * ((size - 1) / size), scores=scores)


class MeshEstimator(_Estimator):
    """A :class:`mmhier.models.pose_estimators.TopdownMeshEstimator`; arguments as for the base class.

    Args:
        model: See above.
        cfg: See above.
        name: See above.
        engine: See above.
        precision: See above.
        focal: Where the focal lengths of pictures come from.
    """

    def __init__(
        self,
        model: nn.Module,
        cfg: Config,
        name: str,
        engine: str | Path = 'eager',
        precision: str | None = None,
        focal: FocalChoice = AUTOMATIC,
    ):
        super().__init__(model, cfg, name, engine, precision)
        self.focal = focal
        boxes = [step for step in _evaluation_pipeline(cfg) if step['type'] == 'MeshBox']
        box = {key: value for key, value in boxes[0].items() if key != 'type'}
        self.layout = model.layout
        self.outputs = (model.head.outputs,)
        self.crop = MeshCropper(**box, **_crop_settings(model.test_cfg, name), layout=self.layout)
        joints = joint_set(model.joints)
        self.keypoint_names = joints.names
        self.skeleton = tuple((parent, child) for child, parent in enumerate(joints.parents) if parent >= 0)
        # Of whole bodies one whose hands are given as they are, not relative to its means.
        self.body = (
            load_body_model(model.body_model_name, joints, model.head.num_betas).to(self.device)
            if self.layout.has_parts
            else model.body()
        )

    def poses(
        self,
        outputs: Outputs,
        crops: Sequence[Crop],
        image_hws: Sequence[tuple[int, int]],
        lenses_mm: Sequence[float | None] | None = None,
    ) -> list[Pose]:
        """Pose the body model and place it before the camera of the whole image.

        With the official focal length as ``TopdownMeshEstimator.predict`` does, else see
        :mod:`mmhier.geometry.scene_camera`.
        """
        parameters = {name: value.to(self.device).float() for name, value in outputs.items()}
        camera, boxes = parameters.pop('camera'), parameters.pop('boxes', None)
        lenses_mm = [None] * len(crops) if lenses_mm is None else lenses_mm
        focals = [self.focal.of(hw, lens) for hw, lens in zip(image_hws, lenses_mm)]
        table = [
            [*crop.center, crop.size[0], width, height, focal]
            for crop, (height, width), (focal, _) in zip(crops, image_hws, focals)
        ]
        table = torch.tensor(np.asarray(table, np.float32), device=self.device)
        center, size, image_wh, focal = table[:, :2], table[:, 2], table[:, 3:5], table[:, 5]
        with torch.inference_mode():
            if self.layout.has_parts:
                names = ('global_orient', *self.layout.rotations)
                parameters |= self.model.body().rotations(**{name: parameters[name] for name in names})
                parameters['expression'] = parameters['expression'][:, : self.body.num_expressions]
            joints = self.body(**parameters).joints
            projected = perspective_projection(joints, weak_perspective_to_translation(camera))
            keypoints = center[:, None] + size[:, None, None] * projected
            orient = parameters['global_orient']
            if self.focal.is_official:
                transl = crop_to_full_translation(camera, center, size, image_wh, focal)
                placed = Placement(orient, transl, joints)
            else:
                pelvis = self.body.rest_joints(parameters['betas'])[:, 0]
                placed = place_in_scene(
                    joints, pelvis, orient, camera, keypoints, center, size, image_wh, focal
                )
        results = dict(
            parameters,
            global_orient=placed.global_orient,
            camera=camera,
            transl=placed.transl,
            joints_3d=placed.joints,
        )
        if boxes is not None:
            corners = boxes_in_crop_units(boxes, self.model.head.input_size_wh).unflatten(2, (2, 2))
            corners = center[:, None, None] + size[:, None, None, None] * corners
            results['part_boxes'] = corners.flatten(2)
        arrays = {name: value.cpu().numpy() for name, value in results.items()}
        keypoints = keypoints.cpu().numpy()
        shared = dict(body_model=self.model.body_model_name, joint_set=self.model.joints, body=self.body)
        scores = np.ones(len(self.keypoint_names), np.float32)
        return [
            Pose(
                keypoints[row],
                scores,
                BodyMesh(
                    **{name: array[row] for name, array in arrays.items()},
                    focal_length=focals[row][0],
                    focal_source=focals[row][1],
                    **shared,
                ),
            )
            for row in range(len(crops))
        ]

    def _eager(self, images: Tensor) -> Outputs:
        found = self.model.head(self.model.extract_feat(images))
        return {name: getattr(found, name) for name in self.model.head.outputs}


def _crop_settings(test_cfg: dict[str, Any], name: str) -> dict[str, Any]:
    """How a mesh model wants people to be cut out, for :class:`mmhier.inference.crops.MeshCropper`."""
    if unknown := set(test_cfg) - {'padding', 'blur'}:
        raise ValueError(f'{name}: test_cfg has padding and blur, not {", ".join(sorted(unknown))}')
    return dict(test_cfg)


def load_estimator(
    model: str | Path | None,
    weights: str | Path | None = None,
    device: str = 'auto',
    engine: str | Path = 'eager',
    flip_test: bool = False,
    box_padding: float | None = None,
    focal: FocalChoice = AUTOMATIC,
    precision: str | None = None,
) -> PoseEstimator | MeshEstimator:
    """Build the model of a config, load its weights and make it ready.

    Args:
        model: Config file or name, see :func:`mmhier.zoo.names.resolve_config`; None: that of
            an exported file.
        weights: Checkpoint, its address, or the name of released weights; by default what training has left,
            else released ones, see :func:`mmhier.zoo.choice.choose_weights`. Weights of ViTPose and HMR2.0
            are converted on the way. ``'random'``: random weights, for tests and timing.
        device: 'auto' takes a GPU if there is one.
        engine: 'eager', 'auto', 'compile', 'onnxruntime', 'openvino', or a file of ``mmhier export``, which
            holds its own weights.
        flip_test: Average heatmaps with those of the mirrored crop; twice the work.
        box_padding: Factor on boxes before people are cut out, instead of the model's own.
        focal: Where the focal lengths of pictures come from, for mesh models.
        precision: 'fp32', 'bf16', 'auto', or that of an exported file, see
            :func:`mmhier.inference.engine_network.open_network`.

    Raises:
        FileNotFoundError: If there is no such config, or no weights; the message says how to come by them.
        ValueError: If the weights are of another model, or an option does not fit the model.
    """
    if box_padding is not None and not 0.1 <= box_padding <= 10:
        raise ValueError(f'box_padding={box_padding}: expected a factor from 0.1 to 10')
    init_default_scope('mmpose')
    if model is None and not is_file(engine):
        raise ValueError('model is missing: the name of a model, or a config file')
    path = exported_config(engine) if model is None else resolve_config(model)
    cfg = Config.fromfile(path)
    settings = cfg.model = without_teacher(cfg.model)
    if 'init_cfg' in settings.get('backbone', {}):
        settings.backbone.init_cfg = None
    settings.train_cfg = None
    is_mesh = settings.type == 'TopdownMeshEstimator'
    if is_mesh:
        for name in _PRIOR:
            settings.pop(name, None)
        if flip_test:
            raise ValueError(f'{path.stem} is a mesh model: a flip test is for heatmaps only')
    elif focal != AUTOMATIC:
        raise ValueError(f'{path.stem} is a pose model: a focal length is for mesh models only')
    elif settings.type == 'ManyDatasetsEstimator':
        raise ValueError(
            f'{path.stem} has a decoder per data set: take one out (mmhier convert CHECKPOINT FILE '
            '--whole-model --dataset NAME) and name a model with that one alone, see docs/many_datasets.md'
        )
    elif settings.type != 'TopdownPoseEstimator':
        raise ValueError(f"{path.stem} is a {settings.type}; use MMPose's MMPoseInferencer for it")
    network = MODELS.build(settings)
    checkpoint, ready = {}, None
    if weights is not None or not is_file(engine):
        checkpoint, ready = _load_weights(network, path, weights)
    if ready.is_vitposes_own if ready is not None else is_file(engine) and has_vitposes_codec(engine):
        network.head.decoder = KEYPOINT_CODECS.build({**settings.head.decoder, 'type': 'ViTPoseUDPHeatmap'})
    network.to(choose_device(device)).eval()
    if hasattr(network.backbone, 'fuse_for_inference'):
        network.backbone.fuse_for_inference()
    if is_mesh:
        estimator = MeshEstimator(network, cfg, path.stem, engine, precision, focal)
    else:
        meta = checkpoint.get('meta', {}).get('dataset_meta') or _dataset_meta(cfg)
        estimator = PoseEstimator(network, cfg, path.stem, engine, precision, meta, flip_test)
    if is_file(engine):
        check_engine_keypoints(engine, estimator.keypoint_names)
    if box_padding is not None:
        estimator.crop.padding = box_padding
    return estimator


def choose_device(device: str) -> str:
    """'cuda' or 'cpu' for 'auto'; other names as they are.

    Raises:
        ValueError: If a GPU is asked for and PyTorch sees none.
    """
    if device == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(f'device={device!r}: PyTorch sees no GPU; use cpu, or install a build for your GPU')
    return device


def _load_weights(
    model: nn.Module, config: Path, weights: str | Path | None
) -> tuple[dict[str, Any], Ready | None]:
    """Load weights that have to fit; return the rest of their checkpoint, and what was converted of it."""
    if str(weights) == RANDOM:
        logger.warning('%s has random weights: its results mean nothing', config.stem)
        return {}, None
    place, entry = choose_weights(config, weights)
    if weights is None or str(weights) == AUTO:
        logger.warning('weights of %s: %s', config.stem, place)
    checkpoint, ready = {}, None
    if entry is not None:
        ready = converted(entry, place)
    elif Path(place).suffix == '.ckpt':  # Lightning's, never ours
        ready = convert_model_file(place)
    else:
        checkpoint = _load_checkpoint(str(place), map_location='cpu', logger='silent')
    state = ready.state_dict if ready else checkpoint.pop('state_dict', checkpoint)
    problem = _mismatch(model, state)
    if problem and ready is None:
        try:
            ready = convert_model(state, str(place))
            state, problem = ready.state_dict, _mismatch(model, ready.state_dict)
        except ValueError as error:
            if any(key.startswith(_OTHERS) for key in state):
                raise ValueError(f'{place} cannot be made a checkpoint of {config.stem}: {error}') from error
    if problem:
        of = f'; it is for {", ".join(entry.configs)}' if entry else ''
        raise ValueError(
            f'{place} is not a checkpoint of {config.stem}: {problem}{of}. Use the config that it was '
            'trained with, or mmhier convert for weights of another project'
        )
    model.load_state_dict({name.removeprefix('module.'): value for name, value in _own(state).items()})
    return checkpoint if 'meta' in checkpoint else {}, ready


def _mismatch(model: nn.Module, state: dict[str, Tensor]) -> str | None:
    return describe_mismatch(model.state_dict(), _own(state))


def _own(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights without those that only training needs."""
    return {name: value for name, value in state.items() if name.split('.')[0] != 'discriminator'}


def _dataset_meta(cfg: Config) -> dict[str, Any]:
    with warnings.catch_warnings():  # of a path that it then finds
        warnings.filterwarnings('ignore', message='The metainfo config file')
        return dataset_meta_from_config(cfg, 'train' if cfg.get('train_dataloader') else 'test')


def _evaluation_pipeline(cfg: Config) -> list[dict]:
    """Pipeline of the data that a config evaluates on."""
    dataset = cfg.val_dataloader.dataset
    while 'pipeline' not in dataset or not dataset.pipeline:
        dataset = dataset.get('dataset') or dataset.datasets[0]
    return dataset.pipeline
