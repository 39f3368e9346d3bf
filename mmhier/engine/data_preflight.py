"""Look at the annotation files, pictures, boxes and keypoint sets of a config before anything is built.

Every data set in COCO's format is looked at, MMPose's own types included. What is read here is handed to the
data set when it is built, so that a file is not read twice.
"""

import logging
import math
import os.path as osp
from collections.abc import Iterator, Sequence

import mmcv
from mmengine.config import Config, ConfigDict
from mmengine.fileio import get
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import DATASETS, METRICS

from mmhier.datasets.coco import CheckedCocoDataset
from mmhier.datasets.coco_boxes import read_boxes
from mmhier.datasets.coco_file import check_coco
from mmhier.datasets.coco_pictures import (
    describe_wrong_size,
    missing_pictures,
    picture_head,
    similar_picture,
    turned_size,
)
from mmhier.datasets.coco_values import CocoFile
from mmhier.datasets.keypoint_set import check_keypoint_set, read_keypoint_set, words_of
from mmhier.datasets.mesh.npz_dataset import MeshNpzDataset
from mmhier.datasets.mesh.npz_file import read_npz
from mmhier.engine.many_preflight import Part, parts_of
from mmhier.student import without_teacher
from mmhier.suggestions import similar_path

logger = logging.getLogger('mmhier')

# How many pictures are compared with their entries here, evenly chosen; the loader compares every one.
TRAINING_PICTURES, EVALUATION_PICTURES = 200, 5000

# Heads whose channels are keypoints -> their argument.
_CHANNELS = dict(HeatmapHead='out_channels', SimCCHead='out_channels', RTMCCHead='out_channels')
_CHANNELS |= dict(RegressionHead='num_joints', IntegralRegressionHead='num_joints', RLEHead='num_joints')


def data_sets(dataset: ConfigDict | None, field: str) -> Iterator[tuple[str, ConfigDict]]:
    """Walk through wrappers (concatenated, repeated, combined) down to the data sets that read files."""
    if not isinstance(dataset, dict):
        return
    if isinstance(dataset.get('dataset'), dict):
        yield from data_sets(dataset['dataset'], f'{field}.dataset')
    elif isinstance(dataset.get('datasets'), list | tuple | dict):
        children = dataset['datasets']
        for name, child in children.items() if isinstance(children, dict) else enumerate(children):
            yield from data_sets(child, f'{field}.datasets.{name}')
    else:
        yield field, dataset


def check_data(cfg: Config, loader: str) -> None:
    """Check what a data loader is about to read, and the evaluator that goes with it.

    Args:
        cfg: The whole config.
        loader: 'train_dataloader', 'val_dataloader' or 'test_dataloader'.

    Raises:
        FileNotFoundError: If a picture or a file is missing.
        ValueError: If an entry of a file is wrong, or files do not fit each other or the model.
    """
    for part in parts_of(cfg, loader):
        _check_part(cfg.get('model') or {}, loader, part)


def _check_part(model: ConfigDict, loader: str, part: Part) -> None:
    training = loader == 'train_dataloader'
    whole = part.dataset
    files = []
    for field, dataset in data_sets(whole, part.field):
        kind = _coco_type(dataset)
        if kind is not None:
            count = _check_keypoints(field, dataset, kind)
            _check_mode(field, dataset, without_teacher(model).get('type'))
            _check_converter(field, dataset, count)
            if _is_local(dataset.get('ann_file')):
                files.append(_check_file(field, dataset, kind, count, training, whole))
        elif _is_mesh_npz(dataset):
            _check_mesh_pictures(field, dataset, training)
    count = _delivered(whole, part.field)
    if count is not None:
        _check_head(model, count, loader, part)
    if files and not training:
        for evaluator in _coco_evaluators(part.evaluator):
            _check_evaluator(evaluator, files, part)


def _coco_type(dataset: ConfigDict) -> type | None:
    """Class of a data set in COCO's format; None for others, which look after themselves."""
    kind = dataset.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(kind, type) or not issubclass(kind, BaseCocoStyleDataset):
        return None
    return kind if kind._load_annotations is BaseCocoStyleDataset._load_annotations else None


def _is_mesh_npz(dataset: ConfigDict) -> bool:
    kind = dataset.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, MeshNpzDataset)


def _is_local(path: str | None) -> bool:
    return bool(path) and '://' not in path


# ---------------------------------------------------------------- keypoint sets


def _check_keypoints(field: str, dataset: ConfigDict, kind: type) -> int:
    """Number of keypoints that a data set describes."""
    metainfo = dataset.get('metainfo')
    if metainfo and not isinstance(metainfo, dict):
        raise ValueError(
            f'{field}.metainfo is {metainfo!r}, expected a dictionary, such as dict(from_file=...)'
        )
    where = f'{field}.metainfo' if metainfo else f'metainfo of {kind.__name__}'
    return len(check_keypoint_set(metainfo or kind.METAINFO, where))


def _check_mode(field: str, dataset: ConfigDict, model: str | None) -> None:
    if (
        model in ('TopdownPoseEstimator', 'ManyDatasetsEstimator')
        and dataset.get('data_mode', 'topdown') != 'topdown'
    ):
        raise ValueError(
            f'{field}.data_mode is {dataset.data_mode!r}, but model.type={model!r} looks at one person at a '
            "time: set data_mode='topdown'"
        )


def _converter(dataset: ConfigDict) -> ConfigDict | None:
    steps = [step for step in dataset.get('pipeline') or () if isinstance(step, dict)]
    return next((step for step in steps if step.get('type') == 'KeypointConverter'), None)


def _check_converter(field: str, dataset: ConfigDict, count: int) -> None:
    converter = _converter(dataset)
    for source, target in (converter or {}).get('mapping', ()):
        sources = source if isinstance(source, list | tuple) else [source]
        if not all(0 <= number < count for number in sources) or not 0 <= target < converter['num_keypoints']:
            raise ValueError(
                f'{field}.pipeline: KeypointConverter maps {source} to {target}, but the data set has '
                f'{count} keypoints and {converter["num_keypoints"]} are wanted, both counted from 0'
            )


def _delivered(dataset: ConfigDict | None, field: str) -> int | None:
    """Number of keypoints of a sample; None if it is of another kind."""
    if not isinstance(dataset, dict):
        return None
    if isinstance(dataset.get('dataset'), dict):
        return _delivered(dataset['dataset'], f'{field}.dataset')
    children = dataset.get('datasets')
    if not isinstance(children, list | tuple):
        kind = _coco_type(dataset)
        if kind is None:
            return None
        converter = _converter(dataset)
        metainfo = dataset.get('metainfo') or kind.METAINFO
        info = read_keypoint_set(metainfo, f'{field}.metainfo')[0]
        return converter['num_keypoints'] if converter else len(info['keypoint_info'])
    if not dataset.get('metainfo'):
        return None
    count = len(check_keypoint_set(dataset['metainfo'], f'{field}.metainfo'))
    for index, child in enumerate(children):
        child_count = _delivered(child, f'{field}.datasets.{index}')
        if child_count not in (None, count) and not _converter(dataset):
            raise ValueError(
                f'{field}.datasets.{index} gives {child_count} keypoints, {field}.metainfo has {count}: '
                'a KeypointConverter in the pipeline of the data set brings them together'
            )
    converter = _converter(dataset)
    return converter['num_keypoints'] if converter else count


def _check_head(model: ConfigDict, count: int, loader: str, part: Part) -> None:
    head = part.head
    argument = _CHANNELS.get(head.get('type'))
    channels = head.get(argument) if argument else None
    combined = (head.get('decoder') or {}).get('heatmap_type', 'gaussian') != 'gaussian'
    converts = (model.get('test_cfg') or {}).get('output_keypoint_indices')
    if channels is None or combined or (converts and loader != 'train_dataloader') or channels == count:
        return
    raise ValueError(
        f'{part.head_field}.{argument} is {channels}, but {part.field} has {count} keypoints: set '
        'both to the same, by metainfo of the data set or by the head'
    )


# ---------------------------------------------------------------- annotation files


def _check_file(
    field: str, dataset: ConfigDict, kind: type, count: int, training: bool, whole: ConfigDict
) -> CocoFile:
    file = check_coco(osp.join(dataset.get('data_root') or '', dataset.ann_file))
    plain = (BaseCocoStyleDataset.parse_data_info, CheckedCocoDataset.parse_data_info)
    if is_plain := kind.parse_data_info in plain:
        _check_count(file, count, f'{field}.metainfo')
        _check_order(file, dataset.get('metainfo') or kind.METAINFO, f'{field}.metainfo')
        if file.misplaced:
            raise ValueError(
                f'{file.path}: {file.misplaced}. Both are pixels of the picture, x before y; a bbox is x and '
                'y of its upper left corner, width and height'
            )
    wanted = None
    if _is_local(dataset.get('bbox_file')):
        boxes, same = read_boxes(dataset.bbox_file, file.content)
        if not same and kind._load_detection_results is BaseCocoStyleDataset._load_detection_results:
            raise ValueError(
                f'{dataset.bbox_file} needs corrections (see the log) that {kind.__name__} cannot make: set '
                f"{field}.type='CheckedCocoDataset', or correct the file"
            )
        wanted = {box['image_id'] for box in boxes}
    elif is_plain and not file.people:
        described = 'annotations' if file.annotated else 'annotations at all'
        boxless = f'; the box of {file.boxless[0]} covers nothing' if file.boxless else ''
        raise ValueError(
            f'{file.path} holds no usable person ({len(file.content.get("annotations", ()))} {described}; a '
            f'usable one has a box in the picture and a labelled keypoint, and is no crowd{boxless})'
        )
    elif is_plain and file.boxless:
        text = (
            f'{file.path}: {len(file.boxless)} labelled people have no box that covers a part of their '
            f'picture (first: {file.boxless[0]})'
        )
        if not training:
            raise ValueError(
                f'{text}: they would count as missed. Give each a bbox (x, y, width, height), or iscrowd 1'
            )
        logger.warning('%s; they are left out', text)
    _check_pictures(field, dataset, kind, file, wanted, training, whole)
    return file


def _check_count(file: CocoFile, count: int, where: str) -> None:
    for numbers, name in file.numbers.items():
        if numbers != 3 * count:
            raise ValueError(
                f'{file.path}: {name} has {numbers} numbers in keypoints, expected {3 * count} (x, y, '
                f'visibility of the {count} keypoints of {where}); metainfo has to describe those of the file'
            )


def _check_order(file: CocoFile, metainfo: ConfigDict, where: str) -> None:
    """Refuse a file that has a keypoint in another place, by the names of its categories."""
    info, _ = read_keypoint_set(metainfo, where)
    described = [entry['name'] for entry in info['keypoint_info'].values()]
    ours = _places(described)
    for category in file.content['categories']:
        names = category.get('keypoints')
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            continue
        for name, place in _places(names).items():
            if ours.get(name, place) != place:
                raise ValueError(
                    f'{file.path} lists its keypoints in another order than {where}: number {place + 1} is '
                    f'{names[place]!r} there and {(*described, "none")[min(place, len(described))]!r} here. '
                    'Describe its keypoints with metainfo'
                )


def _places(names: list[str]) -> dict[tuple[str, ...], int]:
    """Place of each keypoint, by its name however it is written; without those that look alike."""
    plain = [words_of(name) for name in names]
    return {name: place for place, name in enumerate(plain) if plain.count(name) == 1}


# ---------------------------------------------------------------- pictures


def _check_pictures(
    field: str,
    dataset: ConfigDict,
    kind: type,
    file: CocoFile,
    wanted: set[int] | None,
    training: bool,
    whole: ConfigDict,
) -> None:
    """Check that pictures are there and some of them for their size; ``wanted`` are ids of images."""
    folder = osp.join(dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('img') or '')
    loader = _loading_step(dataset) or _loading_step(whole) or {}
    if '://' in folder or loader.get('backend_args'):
        return
    if wanted is None:
        wanted = {annotation['image_id'] for annotation in file.content.get('annotations', ())}
    images = [image for image in file.content['images'] if image['id'] in wanted]
    for image in images:
        if not image.get('file_name'):
            raise ValueError(f'{file.path}: image {image["id"]} has no file_name')
        if not {'width', 'height'} <= image.keys() and not issubclass(kind, CheckedCocoDataset):
            raise ValueError(
                f'{file.path}: image {image["id"]} has no width and height. Write them, or set '
                f"{field}.type='CheckedCocoDataset', which asks the picture"
            )
    missing = missing_pictures(images, folder)
    if missing:
        _report_missing(
            field, file, folder, missing, len(images), training and loader.get('on_error') == 'skip'
        )
        absent = {image['id'] for image in missing}
        images = [image for image in images if image['id'] not in absent]
    limit = TRAINING_PICTURES if training else EVALUATION_PICTURES
    looked_at = images[:: max(1, -(-len(images) // limit))]
    turned = [
        image for image in looked_at if _check_size(file, image, osp.join(folder, image['file_name']), loader)
    ]
    if turned:
        logger.warning(
            '%s: %d of %d pictures (first: %s) are turned or mirrored by their EXIF data in a way that sizes '
            'do not tell. They are loaded as a viewer shows them; if they were labelled as stored, set '
            "color_type='color_ignore_orientation' in LoadImage or LoadCheckedImage",
            file.path, len(turned), len(looked_at), turned[0]['file_name'],
        )  # fmt: skip


def _report_missing(
    field: str, file: CocoFile, folder: str, missing: list[dict], total: int, skipped: bool
) -> None:
    name = missing[0]['file_name']
    text = f'{file.path}: {len(missing)} of {total} pictures are not in {folder or "."} (first: {name})'
    if skipped and len(missing) < total:
        logger.warning('%s; they are skipped', text)
        return
    similar = similar_picture(name, folder)
    hint = f'; there is {similar}' if similar else ''
    raise FileNotFoundError(f'{text}{hint}. Set {field}.data_prefix.img, or correct file_name')


def _check_mesh_pictures(field: str, dataset: ConfigDict, training: bool) -> None:
    """Check that the pictures of an npz file are there; training goes on without some of them."""
    path, folder = (
        osp.join(dataset.get('data_root') or '', dataset[name]) for name in ('ann_file', 'img_dir')
    )
    names = read_npz(path, (), ('imgname',)).get('imgname', ())
    images = [dict(file_name=name.replace('\\', '/')) for name in sorted(set(names))]
    missing = missing_pictures(images, folder)
    if not missing:
        return
    first = missing[0]['file_name']
    text = f'{path}: {len(missing)} of {len(images)} pictures are not in {folder} (first: {first})'
    if not training or len(missing) == len(images):
        raise FileNotFoundError(f'{text}. Set {field}.img_dir')
    logger.warning('%s; people in them are skipped', text)


def _check_size(file: CocoFile, image: dict, path: str, loader: ConfigDict | dict) -> bool:
    """Compare a picture with its entry; return whether it is turned in a way that its size does not tell."""
    entry_wh = image.get('width'), image.get('height')
    flag, decoder = loader.get('color_type', 'color'), loader.get('imdecode_backend', 'cv2')
    as_stored = flag not in ('color', 'grayscale') or decoder not in ('cv2', 'pillow', None)
    head = picture_head(path)
    if head is None:  # the loader's to report
        return False
    stored, orientation = head
    size = stored if as_stored else turned_size(stored, orientation)
    if size == entry_wh or None in entry_wh:
        return orientation != 1 and not as_stored and (None in entry_wh or size == stored)
    loaded = mmcv.imfrombytes(get(path), flag=flag, backend=decoder)  # the header may have been misunderstood
    if loaded is not None and loaded.shape[1::-1] != entry_wh:
        raise ValueError(
            f'{file.path}: {describe_wrong_size(image["id"], entry_wh, path, loaded.shape[1::-1])}'
        )
    return False


def _loading_step(dataset: ConfigDict) -> ConfigDict | None:
    steps = [step for step in dataset.get('pipeline') or () if isinstance(step, dict)]
    return next((step for step in steps if str(step.get('type')).startswith('Load')), None)


# ---------------------------------------------------------------- evaluators


def _coco_evaluators(evaluators: ConfigDict | list | None) -> list[ConfigDict]:
    """Those that compare with one annotation file."""
    evaluators = evaluators or []
    evaluators = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    found = []
    for evaluator in evaluators:
        kind = evaluator.get('type') if isinstance(evaluator, dict) else None
        kind = METRICS.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, type) and issubclass(kind, CocoMetric):
            found.append(evaluator)
    return found


def _check_evaluator(evaluator: ConfigDict, files: Sequence[CocoFile], part: Part) -> None:
    name = part.evaluator_field
    if evaluator.get('format_only'):
        return
    for field, dataset in data_sets(part.dataset, part.field):
        if dataset.get('indices') is not None or dataset.get('sample_interval', 1) != 1:
            logger.warning('%s is a part of its file; what is left out counts as missed in %s', field, name)
    path = evaluator.get('ann_file')
    if path and '://' in path:
        return
    if path and not osp.isfile(path):
        raise FileNotFoundError(
            f'{path} does not exist ({name}.ann_file){similar_path(path)}. --cfg-options {name}.ann_file=PATH'
        )
    if not path and len({osp.realpath(file.path) for file in files}) > 1:
        raise ValueError(
            f'{name} has no ann_file and {part.field} reads several: it would compare all with the last. '
            "Give each its evaluator (type='MultiDatasetEvaluator')"
        )
    judge = check_coco(path) if path else files[0]
    if not judge.people:
        raise ValueError(
            f'{judge.path} ({name}.ann_file) holds no labelled person: there is nothing to evaluate'
        )
    for annotation in judge.content['annotations']:
        area = annotation['area'] if evaluator.get('use_area', True) else math.prod(annotation['bbox'][2:])
        if annotation.get('num_keypoints') and not annotation['iscrowd'] and not area > 0:
            raise ValueError(
                f'{judge.path} ({name}.ann_file): annotation {annotation["id"]} is labelled and has '
                'neither area nor box: nothing would be near enough. Give it a bbox (x, y, width, height), '
                'or iscrowd 1'
            )
    _check_same_images(judge, files, name, part.field)


def _check_same_images(judge: CocoFile, files: Sequence[CocoFile], name: str, field: str) -> None:
    """Refuse an evaluator that judges other pictures than the data sets give."""
    owners: dict[int, tuple[CocoFile, dict]] = {}
    for file in dict((osp.realpath(file.path), file) for file in files).values():
        for image in file.content['images']:
            if image['id'] in owners:
                raise ValueError(
                    f'image {image["id"]} is in {owners[image["id"]][0].path} and in {file.path}: {name} '
                    'could not tell them apart. Number them, or give each its evaluator '
                    "(type='MultiDatasetEvaluator')"
                )
            owners[image['id']] = file, image
    images = {image['id']: image for image in judge.content['images']}
    remedy = f'set {name}.ann_file to the file of {field}'
    for number, (file, image) in owners.items():
        if number not in images:
            raise ValueError(
                f'image {number} of {file.path} is not in {judge.path}, which {name} reads: {remedy}'
            )
        names = [osp.basename(one.get('file_name') or '') for one in (image, images[number])]
        if all(names) and names[0] != names[1]:
            raise ValueError(
                f'image {number} is {names[0]} in {file.path} and {names[1]} in {judge.path}, which {name} '
                f'reads: {remedy}'
            )
    extra = next((number for number in images if number not in owners), None)
    if extra is not None:
        raise ValueError(
            f'image {extra} of {judge.path}, which {name} reads, is not in {files[0].path}; its people would '
            f'count as missed: {remedy}'
        )
