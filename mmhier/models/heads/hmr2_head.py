"""The decoder of HMR2.0: one query token reads a feature map and gives pose, shape and camera.

Goel et al., "Humans in 4D", arXiv 2305.20091; the small decoder and its use behind truncated encoders:
arXiv 2510.12660. The numbers are those of the official code (4D-Humans, MIT); its checkpoints are converted
by :mod:`mmhier.convert.hmr2`. Each layer is self-attention, cross-attention to the map and an MLP, all
pre-normed and residual, without a norm at the end; the context is not normed and has no positions of its own
(``map_positions`` adds some, an option of ours).

The query is a constant and there is only one. Two consequences are used, both exact:

* Self-attention of one token is a softmax over one number: the result is the projected value. Query and key
  of these layers exist (checkpoints and published parameter counts have them); their gradient is zero.
* ``q . (K x)`` is ``(K^T q) . x`` and ``sum a (V x)`` is ``V sum a x``. So keys and values of the map are
  never computed: per layer 2 (H + H d / N) C N multiply-adds take the place of 2 H d C N, a fiftieth in the
  full decoder behind a map of 16 x 12.

Several queries, as :class:`mmhier.models.heads.token_decoder.TokenDecoder` has them, use neither: the layers
then are the ordinary ones, with the same weights.

Convention:
    A rotation matrix acts on column vectors, stored ``[row, column]``, relative to the parent joint; the
    first is the body's orientation in the camera frame (x right, y down, z forward). It is decoded from six
    numbers: the first three are its first column before Gram-Schmidt, the others the second. The camera is
    weak perspective, ``(s, tx, ty)`` of :mod:`mmhier.geometry.cameras`.

Letters: B batch, N = h * w places of the map, C its channels, T tokens, D their width, H heads, d the width
of a head.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmhier.geometry.rotations import rotation_6d_to_matrix
from mmhier.ops.linear import Linear, linear
from mmhier.safe_files import read_npz

_FULL = dict(embed_dims=1024, num_layers=6, num_heads=8, head_dims=64, feedforward_channels=1024)
ARCHS = dict(
    huge=_FULL,  # released
    large=_FULL,
    base=dict(embed_dims=1024, num_layers=4, num_heads=8, head_dims=32, feedforward_channels=512),  # ours
    small=dict(embed_dims=1024, num_layers=3, num_heads=4, head_dims=16, feedforward_channels=128),
)

# Without a file: body upright and facing the camera (half a turn about x), all joints straight, mean shape.
UPRIGHT = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CAMERA = (0.9, 0.0, 0.0)


class HMR2Prediction(NamedTuple):
    """Pose, shape and camera.

    Attributes:
        rotations: (B, joints, 3, 3), the body's orientation first.
        betas: (B, num_betas).
        camera: (B, 3), ``(s, tx, ty)``.
    """

    rotations: Tensor
    betas: Tensor
    camera: Tensor

    @property
    def global_orient(self) -> Tensor:
        """(B, 1, 3, 3)."""
        return self.rotations[:, :1]

    @property
    def body_pose(self) -> Tensor:
        """(B, joints - 1, 3, 3)."""
        return self.rotations[:, 1:]

    @property
    def body(self) -> dict[str, Tensor]:
        """Arguments of :class:`mmhier.body_models.smpl.SMPL`; the body stands at the origin."""
        return dict(global_orient=self.global_orient, body_pose=self.body_pose, betas=self.betas)


def resolve_arch(arch: str | Mapping) -> dict[str, int]:
    """Return the five numbers of an architecture.

    Raises:
        ValueError: If the name is unknown or the mapping is not an architecture.
    """
    if isinstance(arch, str) and arch in ARCHS:
        return dict(ARCHS[arch])
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch must be one of {sorted(ARCHS)} or a dict, got {arch!r}')
    if set(arch) != set(_FULL) or any(not isinstance(value, int) or value < 1 for value in arch.values()):
        raise ValueError(f'arch needs positive whole numbers {", ".join(_FULL)}, got {dict(arch)}')
    return dict(arch)


def read_mean_params(path: str, scrambled: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Read ``smpl_mean_params.npz``, which SPIN and most of its successors use.

    The file has the six numbers of a joint in rows of its 3 x 2 matrix, the decoder wants them column by
    column. The official code overlooks this.

    Args:
        path: The file; nothing in it is executed.
        scrambled: Keep the order of the file, as the official code does.

    Returns:
        Pose (joints * 6,), shape (betas,) and camera (3,), float32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another one or damaged.
    """
    try:
        arrays = read_npz(path, ('pose', 'shape', 'cam'))
        pose, shape, camera = (
            torch.from_numpy(arrays[key].astype(np.float32)).flatten() for key in ('pose', 'shape', 'cam')
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f'{path} is no smpl_mean_params.npz (pose, shape, cam): {error}') from error
    if len(pose) % 6 or len(camera) != 3:
        raise ValueError(
            f'{path}: expected 6 numbers per joint and a camera of 3, got {len(pose)} and {len(camera)}'
        )
    if not scrambled:
        pose = pose.view(-1, 3, 2).mT.flatten()
    return pose, shape, camera


class SelfAttention(nn.Module):
    """Self-attention of tokens; that of a single one is its projected value."""

    def __init__(self, dims: int, heads: int, head_dims: int):
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dims, 3 * heads * head_dims, bias=False)
        self.proj = Linear(heads * head_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map the normed token (B, D), or tokens (B, T, D), to the same shape."""
        if x.ndim == 2:
            return self.proj(linear(x, self.qkv.weight.chunk(3)[2]))
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(*qkv.unbind(0)).transpose(1, 2)
        return self.proj(x.flatten(2))

    def uncounted_macs(self, x: Tensor) -> int:
        """Multiply-adds of query, key and attention of a single token in the papers' graph."""
        if x.ndim == 3:
            return 0
        inner, dims = len(self.qkv.weight) // 3, x.shape[1]
        return len(x) * 2 * inner * (dims + 1)


class CrossAttention(nn.Module):
    """Attention of tokens to a map; of a single one in the cheap order (see the top of the file)."""

    def __init__(self, dims: int, in_channels: int, heads: int, head_dims: int):
        super().__init__()
        self.heads = heads
        self.scale = head_dims**-0.5
        self.q = Linear(dims, heads * head_dims, bias=False)
        self.kv = Linear(in_channels, 2 * heads * head_dims, bias=False)
        self.proj = Linear(heads * head_dims, dims)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Read from the map.

        Args:
            x: The normed token, (B, D), or (1, D) for all; or tokens (B, T, D).
            context: (B, C, N).

        Returns:
            (B, D) or (B, T, D).
        """
        if x.ndim == 3:
            query = self.q(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            both = self.kv(context.transpose(1, 2)).unflatten(2, (2, self.heads, -1))
            read = F.scaled_dot_product_attention(query, *both.permute(2, 0, 3, 1, 4).unbind(0))
            return self.proj(read.transpose(1, 2).flatten(2))
        key, value = self.kv.weight.unflatten(0, (2, self.heads, -1)).unbind(0)  # (H, d, C)
        query = self.q(x).unflatten(1, (self.heads, -1)).transpose(0, 1) * self.scale  # (H, B, d)
        attention = ((query @ key).transpose(0, 1) @ context).softmax(-1)  # (B, H, N)
        read = attention @ context.mT  # (B, H, C)
        read = read.transpose(0, 1) @ value.mT  # (H, B, d)
        return self.proj(read.transpose(0, 1).flatten(1))

    def uncounted_macs(self, x: Tensor, context: Tensor) -> int:
        """Multiply-adds of the papers' graph, which computes keys and values of the map, less those here."""
        if x.ndim == 3:
            return 0
        batch, channels, places = context.shape
        inner = len(self.kv.weight) // 2
        theirs = 2 * inner * channels * places + 2 * inner * places
        ours = 2 * self.heads * channels * places + inner * channels
        return batch * (theirs - ours) - len(x) * inner * channels


class MLP(nn.Module):
    """Two layers with the exact GELU between them."""

    def __init__(self, dims: int, hidden_dims: int):
        super().__init__()
        self.fc1 = Linear(dims, hidden_dims, gelu=True)
        self.fc2 = Linear(hidden_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map the normed token (B, D), or tokens (B, T, D), to the same shape."""
        return self.fc2(self.fc1(x))


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and MLP, pre-normed and residual."""

    def __init__(self, dims: int, in_channels: int, heads: int, head_dims: int, hidden_dims: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.self_attn = SelfAttention(dims, heads, head_dims)
        self.norm2 = nn.LayerNorm(dims)
        self.cross_attn = CrossAttention(dims, in_channels, heads, head_dims)
        self.norm3 = nn.LayerNorm(dims)
        self.ffn = MLP(dims, hidden_dims)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map the token (B, D), or (1, D) for all, and the map (B, C, N) to the token (B, D).

        Tokens (B, T, D) attend to one another, too.
        """
        x = x + self.self_attn(self.norm1(x))
        x = x + self.cross_attn(self.norm2(x), context)
        return x + self.ffn(self.norm3(x))


def sine_positions(channels: int, map_hw: tuple[int, int]) -> Tensor:
    """Sines and cosines of the place in the map, from a quarter of a period across the map to eight periods.

    Args:
        channels: C, a multiple of 4.
        map_hw: Height and width of the map.

    Returns:
        (C, h, w) float32 between -1 and 1: sines and cosines of the row, then of the column.
    """
    frequencies = torch.pi * torch.logspace(-1, 4, channels // 4, base=2)
    rows, columns = (((torch.arange(size) + 0.5) / size)[:, None] * frequencies for size in map_hw)
    rows, columns = (torch.cat([angle.sin(), angle.cos()], 1).T for angle in (rows, columns))
    height, width = map_hw
    return torch.cat([rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)])


@MODELS.register_module()
class HMR2Head(BaseModule):
    """Regress pose, shape and camera from a feature map.

    Args:
        in_channels: C, channels of the map.
        arch: One of :data:`ARCHS` or a dict with ``embed_dims`` (D), ``num_layers``, ``num_heads`` (H),
            ``head_dims`` (d) and ``feedforward_channels``. 'huge' and 'large' are the released full decoder,
            'small' that of HMR2.0-S and of the truncated models, 'base' is a choice of ours in between.
        num_joints: Rotations, the body's orientation included.
        num_betas: Shape components.
        mean_params: The user's ``smpl_mean_params.npz``, to which predictions are added. By default a body
            that stands upright, faces the camera and stretches its arms out. A checkpoint replaces either.
        scrambled_mean_params: Decode the numbers of that file in the wrong order, as the official code does.
            For training from scratch only: checkpoints contain what they were trained with.
        readout_gain: Gain of the Xavier initialisation of the three read-outs; 0.01 starts at the mean
            parameters. None, the official value, leaves PyTorch's initialisation.
        map_positions: Add :func:`sine_positions` to the map. Ours, not in any released or published model:
            without it the decoder learns where something is only as far as the encoder says it, and encoders
            with relative positions alone (Swin, VMamba, GMF) say little in short training.
        init_cfg: Initial weights; by default PyTorch's.

    Raises:
        ValueError: If ``arch`` or ``mean_params`` is of no use.
    """

    layout = 'smpl'  # of the samples that it learns from
    outputs = ('global_orient', 'body_pose', 'betas', 'camera')  # of the prediction, what a body is made of

    def __init__(
        self,
        in_channels: int,
        arch: str | Mapping = 'huge',
        num_joints: int = 24,
        num_betas: int = 10,
        mean_params: str | None = None,
        scrambled_mean_params: bool = False,
        readout_gain: float | None = None,
        map_positions: bool = False,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        if map_positions and in_channels % 4:
            raise ValueError(f'map_positions needs in_channels divisible by 4, got {in_channels}')
        self.in_channels = in_channels
        self.map_positions = map_positions
        self.arch = settings = resolve_arch(arch)
        dims = settings['embed_dims']
        # The official query is this layer applied to zero, plus a position.
        self.query = nn.Linear(1, dims)
        self.query_position = nn.Parameter(torch.randn(1, dims))
        self.layers = nn.ModuleList(
            DecoderLayer(
                dims,
                in_channels,
                settings['num_heads'],
                settings['head_dims'],
                settings['feedforward_channels'],
            )
            for _ in range(settings['num_layers'])
        )
        self.pose_readout = nn.Linear(dims, 6 * num_joints)
        self.shape_readout = nn.Linear(dims, num_betas)
        self.camera_readout = nn.Linear(dims, 3)
        self.num_betas = num_betas
        if readout_gain is not None:
            for readout in (self.pose_readout, self.shape_readout, self.camera_readout):
                nn.init.xavier_uniform_(readout.weight, gain=readout_gain)
                nn.init.zeros_(readout.bias)
        if mean_params is not None:
            means = read_mean_params(mean_params, scrambled_mean_params)
        else:
            pose = torch.tensor([UPRIGHT, *[STRAIGHT] * (num_joints - 1)]).flatten()
            means = pose, torch.zeros(num_betas), torch.tensor(CAMERA)
        if (len(means[0]), len(means[1])) != (6 * num_joints, num_betas):
            raise ValueError(
                f'{mean_params} has {len(means[0]) // 6} joints and {len(means[1])} betas, the head has '
                f'{num_joints} and {num_betas}'
            )
        for name, value in zip(('init_body_pose', 'init_betas', 'init_cam'), means, strict=True):
            self.register_buffer(name, value[None])

    def forward(self, maps: Tensor | tuple[Tensor, ...]) -> HMR2Prediction:
        """Regress one body per map.

        Args:
            maps: (B, C, h, w), or several maps of which the last is used.

        Returns:
            Of the type of the mean parameters, float32 under autocast too.

        Raises:
            ValueError: If the map has another width.
        """
        x = maps if isinstance(maps, Tensor) else maps[-1]
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'the head was built for maps (B, {self.in_channels}, h, w), the neck gives {tuple(x.shape)}'
            )
        if self.map_positions:
            x = x + sine_positions(self.in_channels, x.shape[2:]).to(x)
        context = x.flatten(2)
        token = self.query(self.query_position.new_zeros(1, 1)) + self.query_position
        for layer in self.layers:
            token = layer(token, context)
        pose = self.pose_readout(token).to(self.init_body_pose) + self.init_body_pose
        return HMR2Prediction(
            rotation_6d_to_matrix(pose.unflatten(1, (-1, 6))),
            self.shape_readout(token).to(self.init_betas) + self.init_betas,
            self.camera_readout(token).to(self.init_cam) + self.init_cam,
        )
