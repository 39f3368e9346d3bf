"""COCO evaluation: ``xtcocotools.cocoeval`` on top of faster-coco-eval.

What xtcocotools does and faster-coco-eval does not is done to the annotations before they are handed over:
the keypoints of a part of the whole body are put where the body's are; an annotation is ignored when none of
its keypoints is labelled, whatever its ``num_keypoints`` says (except in CrowdPose); detections whose
keypoints all score zero are left out; without ``use_area`` the area of a person is 0.53 of their box.
Matching and accumulation are faster-coco-eval's; ``evalImgs``, the matches per image, is not filled.
"""

import copy
import logging
from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO as FasterCOCO
from faster_coco_eval import COCOeval_faster

from mmhier.geometry.boxes import AREA_OF_BOX

__all__ = ['COCOeval', 'Params']

logger = logging.getLogger('mmhier')

COCO_SIGMAS = (
    np.array(
        [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89]
    )
    / 10
)

# Kind of evaluation -> fields that hold its keypoints, and field that holds its score.
BODY = ('keypoints',), 'score'
PARTS = {
    'keypoints': BODY,
    'keypoints_body': BODY,
    'keypoints_crowd': BODY,
    'keypoints_foot': (('foot_kpts',), 'foot_score'),
    'keypoints_face': (('face_kpts',), 'face_score'),
    'keypoints_lefthand': (('lefthand_kpts',), 'lefthand_score'),
    'keypoints_righthand': (('righthand_kpts',), 'righthand_score'),
    'keypoints_wholebody': (
        ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts'),
        'wholebody_score',
    ),
}

# CrowdPose: images with a crowd index below the first are easy, below the second medium, the others hard.
CROWD_INDEX_LIMITS = (0.2, 0.8)


class Params:
    """What is evaluated: ids of images and categories, thresholds, area ranges; xtcocotools' own names."""

    def __init__(self, iouType: str = 'keypoints') -> None:
        self.iouType = iouType
        self.useSegm = None
        self.imgIds: list[int] = []
        self.catIds: list[int] = []
        self.useCats = 1
        self.iouThrs = np.linspace(0.5, 0.95, 10)
        self.recThrs = np.linspace(0, 1, 101)
        small, large = [0, 32**2], [96**2, 1e5**2]
        self.areaRng = [[0, 1e5**2], small, [32**2, 96**2], large]
        self.areaRngLbl = ['all', 'small', 'medium', 'large']
        self.maxDets = [1, 10, 100]
        if iouType in PARTS:
            del self.areaRng[1], self.areaRngLbl[1]
            self.maxDets = [20]
        elif iouType not in ('bbox', 'segm'):
            raise ValueError(f'iouType must be bbox, segm or one of {sorted(PARTS)}, got {iouType!r}')


class COCOeval:
    """Compare detections with annotations, as ``xtcocotools.cocoeval.COCOeval`` does.

    Args:
        cocoGt (COCO): Annotations.
        cocoDt (COCO): Detections, made by ``cocoGt.loadRes``.
        iouType (str): ``'bbox'``, ``'segm'`` or a key of :data:`PARTS`.
        sigmas (np.ndarray, optional): Tolerance of each keypoint, in units of the square root of the area.
            Default: COCO's 17.
        use_area (bool): Whether annotations have an ``area``. Otherwise 0.53 of the box is taken.

    Attributes:
        stats (np.ndarray): After :meth:`summarize`: for keypoints AP, AP .5, AP .75, AP (M), AP (L), AR,
            AR .5, AR .75, AR (M), AR (L); for ``keypoints_crowd`` AP, AP .5, AP .75, AR, AR .5, AR .75 and
            AP on easy, medium and hard images; for boxes and masks the twelve numbers of COCO.
        eval (dict): After :meth:`evaluate`: ``precision`` (T, R, K, A, M) and ``recall`` (T, K, A, M).
    """

    def __init__(
        self,
        cocoGt: FasterCOCO | None = None,
        cocoDt: FasterCOCO | None = None,
        iouType: str = 'keypoints',
        sigmas: Sequence[float] | None = None,
        use_area: bool = True,
    ) -> None:
        self.cocoGt = cocoGt
        self.cocoDt = cocoDt
        self.params = Params(iouType)
        self.sigmas = COCO_SIGMAS if sigmas is None else np.asarray(sigmas)
        self.use_area = use_area
        self.eval: dict = {}
        self.stats = np.zeros(0)
        if cocoGt is not None:
            self.params.imgIds = sorted(cocoGt.getImgIds())
            self.params.catIds = sorted(cocoGt.getCatIds())
            self.anno_file = getattr(cocoGt, 'anno_file', [cocoGt.annotation_file])

    @property
    def score_key(self) -> str:
        """Field of a detection that holds the score used here."""
        return PARTS.get(self.params.iouType, BODY)[1]

    def evaluate(self) -> None:
        """Match detections to annotations image by image and accumulate precision and recall."""
        p = self.params
        if p.useSegm is not None:
            p.iouType = 'segm' if p.useSegm == 1 else 'bbox'
        p.imgIds = np.unique(p.imgIds).tolist()
        p.catIds = np.unique(p.catIds).tolist()
        p.maxDets = sorted(p.maxDets)
        self.eval = self._run(p.imgIds)

    def accumulate(self) -> None:
        """Nothing is left to do: :meth:`evaluate` has accumulated."""
        if not self.eval:
            raise RuntimeError('run evaluate() before accumulate()')

    def summarize(self) -> None:
        """Compute :attr:`stats` and print them as COCO's own evaluation does."""
        if not self.eval:
            raise RuntimeError('run evaluate() and accumulate() before summarize()')
        kind, last = self.params.iouType, self.params.maxDets[-1]
        if kind not in PARTS:
            asked = [(1,), (1, 0.5), (1, 0.75)]
            asked += [(1, None, area) for area in ('small', 'medium', 'large')]
            asked += [(0, None, 'all', limit) for limit in self.params.maxDets]
            asked += [(0, None, area) for area in ('small', 'medium', 'large')]
        elif kind == 'keypoints_crowd':
            asked = [(ap, threshold) for ap in (1, 0) for threshold in (None, 0.5, 0.75)]
        else:
            asked = [
                (ap, *which)
                for ap in (1, 0)
                for which in ((None,), (0.5,), (0.75,), (None, 'medium'), (None, 'large'))
            ]
        stats = [self._summarize(*which) for which in asked]
        if kind == 'keypoints_crowd':
            stats += self.get_type_result(*CROWD_INDEX_LIMITS)
            for label, value in zip(('easy', 'medium', 'hard'), stats[-3:]):
                print(self._line('Average Precision', '(AP)', None, 'type', label, last, value))
        self.stats = np.array(stats, dtype=float)

    def get_type_result(self, first: float, second: float) -> list[float]:
        """AP on the images whose ``crowdIndex`` is below ``first``, below ``second``, and at least that."""
        result = []
        for image_ids in self.split(first, second):
            precision = self._run(image_ids)['precision'] if image_ids else -np.ones((1, 1, 1, 1, 1))
            result.append(round(float(np.mean(precision[:, :, :, 0, :])), 4))
        return result

    def split(self, first: float, second: float) -> tuple[list[int], list[int], list[int]]:
        """Ids of the easy, medium and hard images."""
        groups: tuple[list[int], list[int], list[int]] = ([], [], [])
        for image in self.cocoGt.dataset['images']:
            if 'crowdIndex' not in image:
                raise ValueError(
                    f"image {image['id']} of {self.anno_file[0]} has no 'crowdIndex', which iouType "
                    "'keypoints_crowd' needs; use 'keypoints'"
                )
            index = image['crowdIndex']
            groups[(index >= first) + (index >= second)].append(image['id'])
        return groups

    def _run(self, image_ids: list[int]) -> dict:
        """Evaluate the given images with faster-coco-eval."""
        p = self.params
        keypoints = p.iouType in PARTS
        run = COCOeval_faster(
            self._annotations(image_ids),
            self._detections(image_ids),
            iouType='keypoints' if keypoints else p.iouType,
            kpt_oks_sigmas=self.sigmas if keypoints else None,
        )
        for name in ('imgIds', 'catIds', 'useCats', 'iouThrs', 'recThrs', 'areaRng', 'areaRngLbl', 'maxDets'):
            setattr(run.params, name, copy.copy(getattr(p, name)))
        run.params.imgIds = list(image_ids)
        run.evaluate()
        run.accumulate()
        return run.eval

    def _annotations(self, image_ids: list[int]) -> FasterCOCO:
        """Annotations in the plain layout."""
        p = self.params
        fields = PARTS.get(p.iouType, BODY)[0]
        rows = []
        for source in self._load(self.cocoGt, image_ids):
            row = {
                name: source[name] for name in source if name not in ('ignore', '_ignore', 'rle', 'boundary')
            }
            row['iscrowd'] = int(source.get('iscrowd', 0))
            if p.iouType in PARTS:
                if 'keypoints' not in source:  # of a category without keypoints
                    continue
                row['keypoints'] = [value for field in fields for value in source[field]]
                if len(row['keypoints']) != 3 * len(self.sigmas):
                    raise ValueError(
                        f'{len(self.sigmas)} sigmas do not fit annotation {source["id"]} of '
                        f'{self.anno_file[0]}, which has {len(row["keypoints"])} numbers '
                        f'in {", ".join(fields)}'
                    )
                if p.iouType != 'keypoints_crowd':
                    row['num_keypoints'] = int(np.count_nonzero(np.asarray(row['keypoints'][2::3]) > 0))
            row['area'] = self._area(source)
            rows.append(row)
        return _plain_coco(self.cocoGt, rows)

    def _detections(self, image_ids: list[int]) -> FasterCOCO:
        """Detections in the plain layout, without those whose keypoints all score zero."""
        p = self.params
        fields, score = PARTS.get(p.iouType, BODY)
        rows, unscored = [], 0
        for source in self._load(self.cocoDt, image_ids):
            row = {name: source[name] for name in source if name not in ('rle', 'boundary')}
            if p.iouType in PARTS:
                row['keypoints'] = [value for field in fields for value in source[field]]
                if not np.any(np.asarray(row['keypoints'][2::3]) > 0):
                    continue
                unscored += score not in source
                row['score'] = source.get(score, source['score'])
            rows.append(row)
        if unscored:
            logger.warning("%d detections have no %r; their 'score' is used", unscored, score)
        return _plain_coco(self.cocoGt, rows)

    def _load(self, coco: FasterCOCO, image_ids: list[int]) -> list[dict]:
        """Annotations of the images and categories asked for."""
        return coco.loadAnns(
            coco.getAnnIds(imgIds=image_ids, catIds=self.params.catIds if self.params.useCats else [])
        )

    def _area(self, annotation: dict) -> float:
        """Area of an annotated person, in pixels."""
        if not self.use_area:
            return annotation['bbox'][2] * annotation['bbox'][3] * AREA_OF_BOX
        if 'area' not in annotation:
            raise ValueError(
                f"annotation {annotation['id']} of {self.anno_file[0]} has no 'area'; "
                'evaluate with use_area=False'
            )
        return annotation['area']

    def _summarize(
        self, ap: int = 1, threshold: float | None = None, area: str = 'all', limit: int | None = None
    ) -> float:
        """Print and return the mean precision (``ap=1``) or recall over what is not absent (-1)."""
        p = self.params
        limit = p.maxDets[-1] if limit is None else limit
        values = self.eval['precision' if ap else 'recall'][
            ..., p.areaRngLbl.index(area), p.maxDets.index(limit)
        ]
        if threshold is not None:
            values = values[np.isclose(p.iouThrs, threshold)]
        values = values[values > -1]
        mean = float(values.mean()) if values.size else -1.0
        title = ('Average Precision', '(AP)') if ap else ('Average Recall', '(AR)')
        print(self._line(*title, threshold, 'area', area, limit, mean))
        return mean

    def _line(
        self, title: str, short: str, threshold: float | None, what: str, label: str, limit: int, value: float
    ) -> str:
        """One line of the table."""
        thresholds = self.params.iouThrs
        iou = f'{thresholds[0]:0.2f}:{thresholds[-1]:0.2f}' if threshold is None else f'{threshold:0.2f}'
        where = f'IoU={iou:<9} | {what}={label:>6s} | maxDets={limit:>3d}'
        return f' {title:<18} {short} @[ {where} ] = {value: 0.3f}'


def _plain_coco(like: FasterCOCO, rows: list[dict]) -> FasterCOCO:
    """A data set with the images and categories of ``like`` and these annotations, numbered from 1.

    The numbers matter: an id of 0 would count as "not matched".
    """
    for index, row in enumerate(rows, start=1):
        row['id'] = index
    return FasterCOCO(
        {
            'images': like.dataset.get('images', []),
            'categories': like.dataset.get('categories', []),
            'annotations': rows,
        }
    )
