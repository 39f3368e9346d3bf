"""Pictures of predicted meshes in validation and testing, in the manner of MMPose's PoseVisualizationHook.

A picture shows image, people over it and their side view (:mod:`mmhier.visualization.mesh_renderer`). Models
see one person per sample; samples of one image that follow each other are drawn together.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpose.registry import HOOKS
from mmpose.structures import PoseDataSample

from mmhier.safe_files import check_local
from mmhier.visualization.mesh_renderer import WHITE, mesh_panel


@HOOKS.register_module()
class MeshVisualizationHook(Hook):
    """Draws the people that a :class:`mmhier.models.pose_estimators.TopdownMeshEstimator` predicts.

    In validation the first image of every ``interval``-th batch is drawn, the same ones each time; in testing
    all images of these batches. Read are ``pred_instances`` (``vertices``, ``transl``, ``focal_length``),
    ``img_path`` and ``ori_shape`` of the samples and the triangles of the model's ``body()``.

    Args:
        enable: Whether to draw at all.
        interval: Batches from one that is drawn to the next.
        show: Show pictures in a window instead of keeping them.
        wait_time: Seconds that a window stays; 0 waits for a key.
        out_dir: Folder for JPEG files, relative to the run's folder in the work directory. By default
            pictures go to the backends of the visualizer.
        alpha: Opacity of the people.
        max_size: Larger images are drawn with this longer side, in pixels.
        backend_args: Where images are read from, see MMEngine's ``fileio``.

    Raises:
        ValueError: If ``interval`` is less than 1.
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        out_dir: str | None = None,
        alpha: float = 0.9,
        max_size: int = 1280,
        backend_args: dict | None = None,
    ):
        if interval < 1:
            raise ValueError(f'MeshVisualizationHook: interval={interval}, expected at least 1')
        self.enable = enable
        self.interval = interval
        self.show = show
        self.wait_time = wait_time
        self.out_dir = out_dir
        self.alpha = alpha
        self.max_size = max_size
        self.backend_args = backend_args
        self._waiting: list[PoseDataSample] = []
        self._drawn = Counter()

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[PoseDataSample] | None = None,
    ) -> None:
        """Draw the first image of the batch."""
        if self.enable and batch_idx % self.interval == 0 and outputs:
            people = [sample for sample in outputs if _source(sample) == _source(outputs[0])]
            self._publish(runner, people, f'val_mesh_{batch_idx}', runner.iter, f'_iter_{runner.iter}')

    def before_test_epoch(self, runner: Runner) -> None:
        """Start a new set of pictures."""
        self._waiting.clear()
        self._drawn.clear()

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[PoseDataSample] | None = None,
    ) -> None:
        """Draw the images of the batch; the last one waits for people of it in the next batch."""
        if not self.enable or batch_idx % self.interval:
            return
        for sample in outputs or ():
            if self._waiting and _source(sample) != _source(self._waiting[-1]):
                self._draw_waiting(runner)
            self._waiting.append(sample)
        if self.interval > 1:
            self._draw_waiting(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the last image."""
        self._draw_waiting(runner)

    def _draw_waiting(self, runner: Runner) -> None:
        if self._waiting:
            self._publish(runner, self._waiting, 'test_mesh', self._drawn.total(), '')
            self._waiting.clear()

    def _publish(
        self, runner: Runner, people: Sequence[PoseDataSample], name: str, step: int, suffix: str
    ) -> None:
        """Draw the people of one image and hand the picture on."""
        picture = self._draw(runner, people)
        source = Path(_source(people[0]))
        stem = source.stem.replace(':', '_') + suffix
        if self.show:
            runner.visualizer.show(picture[..., ::-1], win_name=source.name, wait_time=self.wait_time)
        elif self.out_dir is None:
            runner.visualizer.add_image(name, picture[..., ::-1], step)
        else:
            # Images of different folders may have the same name, processes may have people of one image.
            rank = f'_rank{runner.rank}' if runner.world_size > 1 else ''
            number = f'_{self._drawn[stem]}' if self._drawn[stem] else ''
            path = Path(runner.work_dir, runner.timestamp, self.out_dir, f'{stem}{number}{rank}.jpg')
            path.parent.mkdir(parents=True, exist_ok=True)
            mmcv.imwrite(picture, str(path))
        self._drawn[stem] += 1

    def _draw(self, runner: Runner, people: Sequence[PoseDataSample]) -> np.ndarray:
        """The picture, BGR."""
        image = self._read_image(runner, people[0])
        predicted = [sample.pred_instances for sample in people]
        vertices = np.concatenate([one.vertices + one.transl[:, None] for one in predicted])
        finite = np.isfinite(vertices).all(axis=(1, 2))
        if not finite.all():
            runner.logger.warning(
                f'{(~finite).sum()} of {len(finite)} predicted meshes are not finite and not drawn: '
                f'{_source(people[0])}'
            )
        scale = min(1.0, self.max_size / max(image.shape[:2]))
        focal = scale * float(predicted[0].focal_length[0])
        if scale < 1.0:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = image.shape[:2]
        # The model counts pixels from the centre of the first one, the renderer from its corner.
        center = ((width + scale) / 2, (height + scale) / 2)
        return mesh_panel(image, vertices[finite], _faces(runner), focal, center, alpha=self.alpha)

    def _read_image(self, runner: Runner, sample: PoseDataSample) -> np.ndarray:
        """The whole image as stored, or white of its size where there is no such file, as in shards."""
        try:
            check_local(sample.img_path)
            content = get(sample.img_path, backend_args=self.backend_args)
        except FileNotFoundError:
            runner.logger.warning(f'meshes are drawn on white: there is no file {_source(sample)}')
            return np.full((*sample.ori_shape[:2], 3), WHITE, np.uint8)
        # Orientation tags are ignored, as in the pipelines of mesh recovery.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)


def _source(sample: PoseDataSample) -> str:
    """What names the image: its path, or the sample where it has none."""
    return sample.img_path or sample.sample_key


def _faces(runner: Runner) -> np.ndarray:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not hasattr(model, 'body'):
        raise TypeError(
            f'MeshVisualizationHook draws meshes, but {type(model).__name__} has no body model; '
            'use PoseVisualizationHook'
        )
    return model.body().faces.cpu().numpy()
