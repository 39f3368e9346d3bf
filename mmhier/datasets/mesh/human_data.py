"""Whole bodies for training and evaluation: people with body, hands and face of SMPL-X.

What a sample holds is :mod:`mmhier.datasets.mesh.whole_body_annotation`. Whatever bodies a file has, SMPL's,
SMPL-H's or SMPL-X's, its people come out as SMPL-X, with flags for what is known of them.

Boxes are cut to the image where its size is known, then enlarged, as SMPLer-X does; a part's first to the
shape of the network's input (3 : 4).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmpose.registry import DATASETS

from mmhier.body_models.model_directory import load_body_data
from mmhier.datasets.mesh import human_data_file
from mmhier.datasets.mesh.annotation import count_problems
from mmhier.datasets.mesh.mesh_dataset import MeshDataset
from mmhier.datasets.mesh.whole_body_annotation import JOINTS, to_whole_body_results
from mmhier.datasets.mesh.whole_body_index import Source, WholeBodyIndex, open_index
from mmhier.datasets.mesh.whole_body_rows import LEFT_OUT

ASPECT = 3 / 4  # width by height of the network's input
EYEBALLS = JOINTS.indices(['left_eyeball', 'right_eyeball'])


class WholeBodyDataset(MeshDataset):
    """People of one or several sources; a subclass says which.

    Args:
        name: Names the data set to the evaluator.
        sources: Annotations; the people of all of them are one data set.
        img_dir: Folder of images.
        padding: Factor from the annotated box to the one that is cut out.
        part_padding: The same of hands' and face's boxes; None leaves their boxes as they are annotated.
        move_boxes: Move a box that begins left of or above the image to its edge, as the official code does,
            instead of cutting it there.
        interval: Use every so manieth person of each source only.
        offset: The first that is used of each source.
        image_hw: Height and width of all images, where the annotation does not say.
        camera: Focal lengths and principal point (fx, fy, cx, cy) of all images, pixels, where the annotation
            does not say.
        flat_hands: Body model whose mean hands are subtracted, for files whose hands are relative to flat
            ones (BEDLAM); in others they are relative to the mean hands, as SMPLer-X's are.
        index_dir: Folder for the indexes; by default one beside each source.
        leave_out: In evaluation, too, leave people out who cannot be used, as the official code does; they
            are counted. Otherwise they are an error there.
        kwargs: See :class:`MeshDataset`.

    Attributes:
        num_annotated: People of the interval, used or not.
        problems: What is wrong with those who are not used -> how many they are.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is malformed or nobody can be used; in evaluation if anybody cannot.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Source],
        img_dir: str | Path,
        padding: float = 1.0,
        part_padding: float | None = None,
        move_boxes: bool = False,
        interval: int = 1,
        offset: int = 0,
        image_hw: tuple[int, int] | None = None,
        camera: tuple[float, float, float, float] | None = None,
        flat_hands: str | None = None,
        index_dir: str | None = None,
        leave_out: bool = False,
        **kwargs: Any,
    ):
        super().__init__(name, layout='smplx', **kwargs)
        if interval < 1 or not 0 <= offset < interval:
            raise ValueError(f'{name}: interval={interval}, offset={offset}: expected 0 <= offset < interval')
        self.img_dir = Path(img_dir)
        self.padding, self.part_padding, self.move_boxes = padding, part_padding, move_boxes
        self.image_hw, self.camera = image_hw, camera
        self.hand_means = None if flat_hands is None else _hand_means(flat_hands)
        self.indexes: list[WholeBodyIndex] = [open_index(source, index_dir) for source in sources]
        rows = [np.arange(offset, len(index), interval, dtype=np.int32) for index in self.indexes]
        # Whom the rules of a data set leave out does not belong to it.
        rows = [
            some[index.table['problem'][some] != LEFT_OUT]
            for some, index in zip(rows, self.indexes, strict=True)
        ]
        self.num_annotated = sum(map(len, rows))
        number = np.repeat(np.arange(len(rows), dtype=np.int32), [len(some) for some in rows])
        problems = [index.table['problem'][some] for index, some in zip(self.indexes, rows, strict=True)]
        self.problems = count_problems(np.concatenate(problems))
        test_mode, self.test_mode = self.test_mode, self.test_mode and not leave_out
        kept = self.select(dict(problem=np.concatenate(problems)), None)
        self.test_mode = test_mode
        self._number, self._row = number[kept], np.concatenate(rows)[kept]

    def __len__(self) -> int:
        return len(self._row)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Fields of a person."""
        source, row = self.indexes[self._number[index]], self._row[index]
        image = source.table['image'][row].decode()
        results = to_whole_body_results(source.records[row])
        if self.image_hw is not None and not results['image_hw'].any():
            results['image_hw'] = np.array(self.image_hw, np.float32)
        if self.camera is not None and not results['has_camera']:
            results |= dict(camera=np.array(self.camera, np.float32), has_camera=1.0)
        self._enlarge_boxes(results)
        if self.hand_means is not None:
            for side, mean in self.hand_means.items():
                if results[f'has_{side}_hand_pose']:
                    results[f'{side}_hand_pose'] -= mean
        return dict(
            results,
            fitted_keypoints_2d=self.fitted_points(results),
            fitting_error=float('nan'),
            sample_key=f'{image}#{self._number[index]}.{row}',
            dataset_name=self.name,
            layout=self.layout,
            sample_idx=index,
            img_path=str(self.img_dir / image),
        )

    def _enlarge_boxes(self, results: dict[str, Any]) -> None:
        center, size = self._cut(results['center'], results['scale'], results['image_hw'])
        results |= dict(center=center, scale=size * np.float32(self.padding))
        if self.part_padding is None:
            return
        for box in results['part_boxes']:
            if not box[4]:
                continue
            center, size = self._cut((box[:2] + box[2:4]) / 2, box[2:4] - box[:2], results['image_hw'])
            width, height = size
            sides = np.array([max(width, height * ASPECT), max(height, width / ASPECT)]) * self.part_padding
            box[:4] = np.concatenate([center - sides / 2, center + sides / 2])

    def _cut(
        self, center: np.ndarray, size: np.ndarray, image_hw: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Centre and size of a box inside of the image, if its size is known."""
        if not image_hw.all():
            return center, size
        start, end = center - size / 2, center + size / 2 - 1  # the last pixel
        if self.move_boxes:
            end = end + np.maximum(-start, 0)
        start, end = np.maximum(start, 0), np.minimum(end, image_hw[::-1] - 1)
        if not (end > start).all():  # less than two pixels of it
            return center, size
        return (start + end) / 2, end - start

    def fitted_points(self, results: Mapping[str, Any]) -> np.ndarray:
        """Points (K, 3) of the annotated body in the image: as in SMPLer-X the annotated ones."""
        return results['keypoints_2d'].copy()


@DATASETS.register_module()
class HumanDataset(WholeBodyDataset):
    """People from HumanData; the format is :mod:`mmhier.datasets.mesh.human_data_file`.

    Args:
        name: Names the data set to the evaluator.
        ann_file: The npz file, or several.
        img_dir: Folder of images.
        data_root: Folder to which both are relative.
        exchange_eyeballs: Exchange the points of the left and the right eyeball, as SMPLer-X's reader does;
            its own bodies have them where they are.
        part_padding: See :class:`WholeBodyDataset`.
        kwargs: See :class:`WholeBodyDataset`.
    """

    def __init__(
        self,
        name: str,
        ann_file: str | Sequence[str],
        img_dir: str = '',
        data_root: str = '',
        exchange_eyeballs: bool = False,
        part_padding: float | None = 1.2,
        **kwargs: Any,
    ):
        files = [ann_file] if isinstance(ann_file, str) else ann_file
        sources = [human_data_source(Path(data_root, file)) for file in files]
        super().__init__(name, sources, Path(data_root, img_dir), part_padding=part_padding, **kwargs)
        self.exchange_eyeballs = exchange_eyeballs

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Fields of a person."""
        results = super().get_data_info(index)
        if self.exchange_eyeballs:
            for name in ('keypoints_2d', 'keypoints_3d', 'fitted_keypoints_2d'):
                results[name][EYEBALLS] = results[name][EYEBALLS[::-1]]
        return results


def human_data_source(path: Path) -> Source:
    """The source of a file of HumanData."""
    read = partial(human_data_file.read_human_data, path)
    return Source([path], read, human_data_file.__name__)


def _hand_means(body: str) -> dict[str, np.ndarray]:
    """Mean hands (15, 3) of a body model."""
    means = load_body_data(body).hand_means
    if means is None:
        raise ValueError(f'flat_hands={body!r}: this body model has no mean hands; use smplx_neutral')
    return {side: means[number].reshape(15, 3) for number, side in enumerate(('left', 'right'))}
