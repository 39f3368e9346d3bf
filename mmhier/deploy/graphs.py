"""Models as plain functions from images to tensors, which is what can be exported.

A graph is a module from images (B, 3, H, W) to a tuple of tensors; ``outputs`` are their names:

| graph | outputs |
|-------|---------|
| :class:`PoseGraph` | ``heatmaps`` (B, K, h, w) |
| with ``decode`` | ``keypoints`` (B, K, 2), pixels of the input, see below; ``scores`` (B, K) |
| :class:`MeshGraph` | ``global_orient`` (B, 1, 3, 3), ``body_pose`` (B, J, 3, 3), ``betas``, ``camera`` |
| with ``vertices`` | these, ``vertices`` (B, V, 3) and ``joints_3d`` (B, M, 3), metres, axes of the camera |

Rotations of whole bodies are axis-angle: ``global_orient`` and ``jaw_pose`` (B, 3), ``body_pose`` (B, 63),
``left_hand_pose`` and ``right_hand_pose`` (B, 45); beside them ``expression`` (B, E) and ``boxes`` (B, 3, 4).

No graph holds a body model unless ``vertices`` asks for it. There is no flip test in a graph.

Convention: keypoints of a graph are plain pixels, (0, 0) is the centre of the first, (W - 1, H - 1) that of
the last. MMPose's UDP codec returns W / (W - 1) and H / (H - 1) times these: its last centre is (W, H).
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhier.deploy.group_mix import prepare_group_mix
from mmhier.deploy.scan import prepare_scans
from mmhier.models.pose_estimators.mesh_preprocessor import shrunk

# How a graph takes its images.
INPUTS = ('normalised', 'rgb-float', 'rgb-uint8')


# Where a graph will run: by this process as it is, anywhere as a program of PyTorch, or as ONNX.
TARGETS = ('here', 'torch', 'onnx')


def ready(model: nn.Module, target: str) -> nn.Module:
    """Copy a model for a target: in evaluation mode, fused where it can be, its scans replaced."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    if hasattr(model.backbone, 'fuse_for_inference'):
        model.backbone.fuse_for_inference()
    if target == 'onnx':
        prepare_group_mix(model)
    if target != 'here':
        prepare_scans(model, for_onnx=target == 'onnx')
    return model


class Normalise(nn.Module):
    """What the model's data preprocessor does, for images in RGB from 0 to 255.

    Args:
        preprocessor: MMPose's, or :class:`mmhier.models.pose_estimators.MeshDataPreprocessor`.
    """

    def __init__(self, preprocessor: nn.Module):
        super().__init__()
        self.register_buffer('mean', preprocessor.mean.clone())
        self.register_buffer('std', preprocessor.std.clone())
        self.shrink = getattr(preprocessor, 'shrink', 1)
        self.average = getattr(preprocessor, 'average', True)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W), uint8 or float32, to what the network takes."""
        images = (images.float() - self.mean) / self.std
        return shrunk(images, self.shrink, self.average)


class UDPDecoder(nn.Module):
    """Keypoints of heatmaps as ``UDPHeatmap`` (arXiv 1911.07524) and ``ViTPoseUDPHeatmap`` decode them.

    The largest value of a heatmap, refined by a Newton step on the logarithm of the blurred heatmap (DARK,
    arXiv 1910.06278). Equal to MMPose's ``decode`` but for rounding and the unit (see above), with one
    exception: where no value is above 0 MMPose refines with neighbours of another heatmap; here the keypoint
    is (-1, -1) in the heatmap.

    Args:
        codec: MMPose's ``UDPHeatmap`` of the type 'gaussian', or ours, which mirrors the border.

    Raises:
        ValueError: If the codec is another.
    """

    def __init__(self, codec: Any):
        super().__init__()
        name = type(codec).__name__
        if name not in ('UDPHeatmap', 'ViTPoseUDPHeatmap') or codec.heatmap_type != 'gaussian':
            raise ValueError(
                f'decoding within the graph is for UDPHeatmap of the type gaussian, this codec is '
                f'{codec}: export heatmaps (without --decode) and decode them with the model'
            )
        self.mirrored = name == 'ViTPoseUDPHeatmap'
        size = codec.blur_kernel_size
        sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8  # OpenCV's, for a sigma of 0
        kernel = torch.exp(-(torch.arange(size) - size // 2).double().square() / (2 * sigma**2))
        self.register_buffer('kernel', (kernel / kernel.sum()).float().view(1, 1, size, 1))
        width, height = codec.heatmap_size
        gain = [(codec.input_size[0] - 1) / (width - 1), (codec.input_size[1] - 1) / (height - 1)]
        self.register_buffer('gain', torch.tensor(gain))
        self.width, self.height = width, height
        # the value, then its neighbours: right, left, below, above, below right, above left
        row = width + 2
        self.register_buffer('around', torch.tensor([0, 1, -1, row, -row, row + 1, -row - 1]))

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, K, h, w) to keypoints (B, K, 2) in pixels of the input and scores (B, K)."""
        flat = heatmaps.flatten(2)
        scores, index = flat.max(2)
        x, y = index % self.width, index // self.width
        blurred = self._blur(heatmaps)
        if not self.mirrored:
            blurred = blurred * (scores / blurred.flatten(2).amax(2))[:, :, None, None]
        logarithm = F.pad(blurred.clamp(1e-3, 50.0).log(), (1, 1, 1, 1), mode='replicate').flatten(2)
        place = (x + 1 + (y + 1) * (self.width + 2)).unsqueeze(2) + self.around
        here, right, left, below, above, below_right, above_left = logarithm.gather(2, place).unbind(2)
        dx, dy = 0.5 * (right - left), 0.5 * (below - above)
        epsilon = torch.finfo(torch.float32).eps
        dxx = right - 2 * here + left + epsilon
        dyy = below - 2 * here + above + epsilon
        dxy = 0.5 * (below_right - right - below + here + here - left - above + above_left)
        determinant = dxx * dyy - dxy * dxy
        step = torch.stack((dyy * dx - dxy * dy, dxx * dy - dxy * dx), 2) / determinant.unsqueeze(2)
        found = (scores > 0).unsqueeze(2)
        keypoints = torch.where(found, torch.stack((x, y), 2) - step, torch.full_like(step, -1.0))
        return keypoints * self.gain, scores

    def _blur(self, heatmaps: Tensor) -> Tensor:
        batch, count = heatmaps.shape[:2]
        margin = self.kernel.shape[2] // 2
        maps = heatmaps.reshape(batch * count, 1, *heatmaps.shape[2:])
        maps = F.pad(maps, (margin,) * 4, mode='reflect' if self.mirrored else 'constant')
        maps = F.conv2d(F.conv2d(maps, self.kernel), self.kernel.transpose(2, 3))
        return maps.view(batch, count, *heatmaps.shape[2:])


class PoseGraph(nn.Module):
    """A top-down pose model with heatmaps.

    Args:
        model: As :func:`ready` returns it.
        decode: Return keypoints instead of heatmaps.
        normalise: Take images in RGB from 0 to 255.
    """

    def __init__(self, model: nn.Module, decode: bool = False, normalise: bool = False):
        super().__init__()
        self.normalise = Normalise(model.data_preprocessor) if normalise else nn.Identity()
        self.backbone, self.head = model.backbone, model.head
        self.neck = model.neck if model.with_neck else nn.Identity()
        self.decoder = UDPDecoder(model.head.decoder) if decode else None
        self.outputs = ('keypoints', 'scores') if decode else ('heatmaps',)
        self.float_parts = ('head.final_layer', 'decoder')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, 3, H, W) to ``outputs``."""
        heatmaps = check_heatmaps(self.head, self.head(self.neck(self.backbone(self.normalise(images)))))
        return (heatmaps,) if self.decoder is None else self.decoder(heatmaps)


class MeshGraph(nn.Module):
    """A mesh model without its body.

    Args:
        model: A :class:`mmhier.models.pose_estimators.TopdownMeshEstimator` as :func:`ready` returns it.
        vertices: Put the body model into the graph. SMPL's licence forbids passing such a file on.
        normalise: Take images in RGB from 0 to 255.
    """

    def __init__(self, model: nn.Module, vertices: bool = False, normalise: bool = False):
        super().__init__()
        self.normalise = Normalise(model.data_preprocessor) if normalise else nn.Identity()
        self.backbone, self.head = model.backbone, model.head
        self.neck = model.neck if model.with_neck else nn.Identity()
        self.body = model.body() if vertices else None
        self.outputs = self.parameters_of = model.head.outputs
        # The last layers of the encoder's MLPs as well: a small error of angles adds up along the limbs.
        self.float_parts = ('neck', 'head', 'body', 'ffn.layers.1', 'mlp.1', 'mlp.fc2')
        if vertices:
            self.outputs += ('vertices', 'joints_3d')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, 3, H, W) to ``outputs``."""
        found = self.head(self.neck(self.backbone(self.normalise(images))))
        parameters = tuple(getattr(found, name) for name in self.parameters_of)
        if self.body is None:
            return parameters
        body = self.body(**found.body)
        return (*parameters, body.vertices, body.joints)


def run_model(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Run a model as it is; return the outputs of its graph (without options) by name."""
    with torch.inference_mode():
        if not is_mesh(model):
            return dict(heatmaps=check_heatmaps(model.head, model(images, None, mode='tensor')))
        found = model.head(model.extract_feat(images))
        return {name: getattr(found, name) for name in model.head.outputs}


def check_heatmaps(head: nn.Module, found: Any) -> Tensor:
    """Return what the head of a pose model has found.

    Raises:
        ValueError: If it is no heatmaps (B, K, h, w), as of heads that classify or regress coordinates.
    """
    if not isinstance(found, Tensor) or found.ndim != 4:
        raise ValueError(
            f'a {type(head).__name__} gives no heatmaps: such a model runs eagerly only, in mmhier infer '
            'without --engine and --precision; MMDeploy exports it'
        )
    return found


def is_mesh(model: nn.Module) -> bool:
    """Whether a model regresses bodies rather than heatmaps."""
    return hasattr(model, 'body_model_name')


def graph_of(
    model: nn.Module,
    target: str = 'here',
    decode: bool = False,
    vertices: bool = False,
    normalise: bool = False,
) -> nn.Module:
    """Make the graph of a model.

    Args:
        model: A pose or mesh model; it stays as it is.
        target: One of :data:`TARGETS`.
        decode: See :class:`PoseGraph`.
        vertices: See :class:`MeshGraph`.
        normalise: See both.

    Raises:
        ValueError: If an option is for models of the other kind.
    """
    if decode and is_mesh(model):
        raise ValueError('decoding is for pose models, this is a mesh model')
    if vertices and not is_mesh(model):
        raise ValueError('vertices are for mesh models, this is a pose model')
    copied = ready(model, target)
    if is_mesh(model):
        return MeshGraph(copied, vertices, normalise).eval()
    return PoseGraph(copied, decode, normalise).eval()
