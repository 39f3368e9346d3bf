"""Whether an exported file computes what the model computes, in units that mean something.

Pose models are compared by decoded keypoints, in pixels of the network's input; mesh models by vertices and
joints of the licence-free body in the predicted pose and shape, in millimetres. The reference is the model
itself, in PyTorch and float32.

The bounds are on the mean and, where rounding alone is at work, on the largest difference. In half precision
and int8 a keypoint can jump between two peaks, so the largest is reported and not bounded. Keypoints that the
model does not see (:data:`SEEN`) have no place, only a division by almost nothing: they do not count.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from mmhier.body_models.model_directory import shared_body_model
from mmhier.deploy.graphs import is_mesh

PRECISIONS = ('float32', 'fp16', 'bf16', 'int8')
# Task -> precision -> largest mean and largest single difference that pass; None: any.
BOUNDS: dict[str, dict[str, tuple[float, float | None]]] = {
    'pose': dict(float32=(0.05, 0.5), fp16=(0.25, None), bf16=(0.25, None), int8=(0.5, None)),  # pixels
    'mesh': dict(float32=(0.05, 0.5), fp16=(2.0, None), bf16=(2.0, None), int8=(10.0, None)),  # millimetres
}
SEEN = 0.1  # score from which a keypoint counts
UNITS = dict(pose='pixels of the input', mesh='millimetres')


class NothingSeenError(ValueError):
    """The model sees no keypoint that could be compared."""


@dataclass(frozen=True)
class Parity:
    """Differences between an exported file and the model.

    Attributes:
        unit: Of all numbers.
        crops: Crops that were compared.
        values: Keypoints, or vertices and joints, that were compared.
        source: Where they come from.
        differences: Quantity -> mean, median, 99th percentile (p99) and largest (max) difference; the share
            of values that differ by more than 2 (share_beyond_2).
        bound_mean: What each mean may be at most.
        bound_max: What each largest difference may be at most, None for any.
        passed: Whether they are.
    """

    unit: str
    crops: int
    values: int
    source: str
    differences: dict[str, dict[str, float]]
    bound_mean: float
    bound_max: float | None
    passed: bool

    def to_json(self) -> dict:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        numbers = '; '.join(
            f'{name} {values["mean"]:.3g} mean, {values["p99"]:.3g} p99, {values["max"]:.3g} max'
            for name, values in self.differences.items()
        )
        most = '' if self.bound_max is None else f', {self.bound_max} max'
        return (
            f'{numbers} in {self.unit}, {self.values} values of {self.crops} crops ({self.source}); bound '
            f'{self.bound_mean} mean{most}'
        )


def task_of(model: nn.Module) -> str:
    """'pose' or 'mesh'."""
    return 'mesh' if is_mesh(model) else 'pose'


def compare(
    model: nn.Module,
    expected: dict[str, Tensor],
    found: dict[str, Tensor],
    precision: str = 'float32',
    source: str = '',
    bound: float | None = None,
) -> Parity:
    """Compare outputs by name.

    Args:
        model: The model, which knows how to decode.
        expected: Outputs of the model's own graph, without decoding, or of an exported file.
        found: Outputs of the exported file.
        precision: One of :data:`PRECISIONS`.
        source: Where the crops come from, for the report.
        bound: In the place of the mean's bound in :data:`BOUNDS`; the largest difference is then unbounded.

    Raises:
        NothingSeenError: If a pose model sees no keypoint in any crop.
    """
    task = task_of(model)
    quantities = _mesh_distances if task == 'mesh' else _keypoint_distances
    distances = quantities(model, expected, found)
    bound_mean, bound_max = BOUNDS[task][precision] if bound is None else (bound, None)
    differences = {name: _summary(values.double().flatten()) for name, values in distances.items()}
    passed = all(
        values['mean'] <= bound_mean and (bound_max is None or values['max'] <= bound_max)
        for values in differences.values()
    )
    crops = len(next(iter(found.values())))
    values = sum(distance.numel() for distance in distances.values())
    return Parity(UNITS[task], crops, values, source, differences, bound_mean, bound_max, passed)


def _summary(values: Tensor) -> dict[str, float]:
    return dict(
        mean=values.mean().item(),
        median=values.median().item(),
        p99=values.kthvalue(math.ceil(0.99 * len(values))).values.item(),
        max=values.max().item(),
        share_beyond_2=(values > 2).double().mean().item(),
    )


def _keypoint_distances(
    model: nn.Module, expected: dict[str, Tensor], found: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Distances of the keypoints that the model sees in pixels, flat.

    Raises:
        NothingSeenError: If it sees none.
    """
    truth, scores = _keypoints(model, expected), _scores(model, expected)
    places = _keypoints(model, found)
    seen = scores >= SEEN
    if not seen.any():
        raise NothingSeenError(
            f'the model sees no keypoint in the {len(truth)} crops (best score {scores.max():.2g}, '
            f'needed {SEEN}): nothing can be compared. Name images of people as it was trained on, with '
            '--crops DIR and their boxes with --boxes JSON; if it sees none there either, its weights are '
            'not trained or not those of this config, which mmhier test shows'
        )
    return dict(keypoints=(places - truth).norm(dim=-1)[seen])


def _keypoints(model: nn.Module, outputs: dict[str, Tensor]) -> Tensor:
    """Keypoints (B, K, 2) as the model's own decoder returns them."""
    if 'heatmaps' in outputs:
        return _decoded(model, outputs['heatmaps'], 'keypoints')
    size = torch.tensor(model.head.decoder.input_size, dtype=torch.float64)
    return outputs['keypoints'].double() * size / (size - 1)


def _scores(model: nn.Module, outputs: dict[str, Tensor]) -> Tensor:
    """Scores (B, K)."""
    heatmaps = outputs.get('heatmaps')
    return outputs['scores'] if heatmaps is None else _decoded(model, heatmaps, 'keypoint_scores')


def _decoded(model: nn.Module, heatmaps: Tensor, name: str) -> Tensor:
    """What the model's own decoder finds, (B, K, ...)."""
    people = model.head.decode(heatmaps)
    return torch.stack([torch.as_tensor(getattr(person, name)[0], dtype=torch.float64) for person in people])


def _mesh_distances(
    model: nn.Module, expected: dict[str, Tensor], found: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Distances of vertices (B, V) and joints (B, M) in millimetres."""
    body = shared_body_model('open', model.joints, expected['betas'].shape[1])
    names = ('global_orient', 'body_pose', 'betas')
    with torch.no_grad():
        posed = [body(**{name: outputs[name] for name in names}) for outputs in (expected, found)]
    return {
        name: 1e3 * (getattr(posed[0], name) - getattr(posed[1], name)).norm(dim=-1)
        for name in ('vertices', 'joints')
    }
