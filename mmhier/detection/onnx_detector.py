"""YOLOX, RTMDet and D-FINE from an ONNX file, through onnxruntime.

Four layouts of outputs are known, and told apart by running the network once:

- ``grid``: YOLOX as Megvii's ``export_onnx.py`` writes it, (B, N, 5 + classes): per cell of the strides 8,
  16, 32 (and 64) the centre's offset and the logarithm of the size in cells, objectness, and class scores;
- ``decoded``: the same after ``--decode_in_inference``: centre and size are pixels of the network's input;
- ``dets, labels``: MMDeploy's, after non-maximum suppression: (B, N, 5) corners and score, (B, N) classes;
- ``logits, pred_boxes``: D-FINE (arXiv 2410.13842) as Hugging Face exports it: (B, N, classes) before the
  sigmoid, (B, N, 4) centre and size from 0 to 1, and nothing to suppress.

YOLOX and RTMDet take BGR images that are scaled to fit, with grey (114) to the right and below; YOLOX takes
the values as they are, RTMDet minus a mean and divided by a standard deviation. Where a file has MMDeploy's
outputs its name has to say which of the two it is. D-FINE takes RGB from 0 to 1, stretched to its input.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from mmhier.detection.detector import Detections, check_image, clip_to_image, count_others
from mmhier.onnx_file import check_onnx
from mmhier.suggestions import similar_path

# Mean and standard deviation that the network's input is normalised with, BGR.
FAMILIES = {
    'yolox': ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    'rtmdet': ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
    'dfine': ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
}
# The family that has a layout of its own.
QUERIES, STRETCHED = 'logits, pred_boxes', 'dfine'
PADDING = 114

STRIDES = ((8, 16, 32), (8, 16, 32, 64))

DEFAULT_INPUT_SIZE = 640

INPUT_TYPES = {'tensor(float)': np.float32, 'tensor(float16)': np.float16}

EXPECTED = (
    'expected YOLOX with one output (batch, cells, 5 + classes), RTMDet or YOLOX of MMDeploy with the '
    'outputs dets (batch, boxes, 5) and labels (batch, boxes), or D-FINE with logits (batch, boxes, classes) '
    'and pred_boxes (batch, boxes, 4)'
)


class OnnxDetector:
    """A YOLOX, RTMDet or D-FINE network that finds people.

    Args:
        path: The ONNX file.
        score_threshold: Boxes with a lower score are dropped.
        family: ``'yolox'``, ``'rtmdet'`` or ``'dfine'``; by default as the layout or the file's name says.
        input_size: Height and width of the network's input, where the file leaves them open.
        nms_iou: Of two boxes that overlap more, the one of lower score is dropped; MMDeploy's files have
            this inside.
        person_class: Index of the class of people.
        device: ``'cuda'`` uses a GPU if onnxruntime-gpu is installed; everything else is the CPU.
        threads: CPU threads; by default as onnxruntime chooses.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If onnxruntime is not installed.
        ValueError: If the network is none of those known.
    """

    def __init__(
        self,
        path: str | Path,
        score_threshold: float = 0.3,
        family: str | None = None,
        input_size: int | tuple[int, int] = DEFAULT_INPUT_SIZE,
        nms_iou: float = 0.45,
        person_class: int = 0,
        device: str = 'cpu',
        threads: int | None = None,
    ):
        if family is not None and family not in FAMILIES:
            raise ValueError(f'family={family!r} of a detector must be one of {", ".join(FAMILIES)}')
        self.path = str(path)
        self.score_threshold = score_threshold
        self.left_out: Counter[str] = Counter()
        self.nms_iou = nms_iou
        self.person_class = person_class
        self._session = _open(self.path, device, threads)
        self._output_names = [output.name for output in self._session.get_outputs()]
        self._read_input(input_size)
        self.layout = self._recognise()
        if family is not None and (family == STRETCHED) != (self.layout == QUERIES):
            raise ValueError(f'{self.path} has the outputs of {self.layout}, which are not those of {family}')
        self.family = family or self._guess_family()

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """See :class:`Detector`."""
        fit = stretch if self.family == STRETCHED else letterbox
        fitted, scale_xy = fit(check_image(image), self.input_hw)
        mean, std = (np.array(numbers, np.float32) for numbers in FAMILIES[self.family])
        outputs = self._run((fitted - mean) / std)
        if self.layout == QUERIES:
            boxes, scores = self._from_queries(outputs)
        elif self.layout == 'dets, labels':
            boxes, scores = self._from_mmdeploy(outputs)
        else:
            boxes, scores = self._from_cells(outputs[self._output_names[0]][0])
        boxes, scores = clip_to_image(boxes / np.tile(scale_xy, 2), scores, image)
        order = np.argsort(-scores, kind='stable')
        return boxes[order], scores[order]

    def _from_mmdeploy(self, outputs: dict[str, np.ndarray]) -> Detections:
        rows, labels = outputs['dets'].reshape(-1, 5), outputs['labels'].reshape(-1)
        people = labels == self.person_class
        count_others(self.left_out, rows[~people, 4], self.score_threshold)
        chosen = people & (rows[:, 4] >= self.score_threshold)
        return rows[chosen, :4], rows[chosen, 4]

    def _from_queries(self, outputs: dict[str, np.ndarray]) -> Detections:
        logits, boxes = outputs['logits'][0].astype(np.float64), outputs['pred_boxes'][0].astype(np.float64)
        scores = 1 / (1 + np.exp(-logits.clip(-80, 80)))
        people = scores[:, self.person_class]
        others = np.delete(scores, self.person_class, axis=1).max(axis=1, initial=0.0)
        count_others(self.left_out, others[others > people], self.score_threshold)
        chosen = people >= self.score_threshold
        centers, sizes = boxes[chosen, :2], boxes[chosen, 2:]
        corners = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)
        return corners * np.tile(self.input_hw[::-1], 2), people[chosen]

    def _from_cells(self, cells: np.ndarray) -> Detections:
        """Boxes of people from one row per cell, (N, 5 + classes)."""
        scores = cells[:, 4:5] * cells[:, 5:]
        people = scores[:, self.person_class]
        others = np.delete(scores, self.person_class, axis=1).max(axis=1, initial=0.0)
        others = np.where(others > people, others, -1.0)
        count_others(self.left_out, self._chosen(cells, others)[1], self.score_threshold)
        return self._chosen(cells, people)

    def _chosen(self, cells: np.ndarray, scores: np.ndarray) -> Detections:
        """Boxes of cells (N, 5 + classes) with high scores (N,), each person or thing once."""
        chosen = scores >= self.score_threshold
        cells, scores = cells[chosen].astype(np.float64), scores[chosen]
        centers, sizes = cells[:, :2], cells[:, 2:4]
        if self.layout == 'grid':
            corners, strides = (array[chosen] for array in self._cells)
            centers, sizes = (centers + corners) * strides, np.exp(sizes) * strides
        boxes = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)
        kept = suppress(boxes, scores, self.nms_iou)
        return boxes[kept], scores[kept]

    def _run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for one image (H, W, 3)."""
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=self._input_type)
        results = self._session.run(self._output_names, {self._input_name: batch})
        return {
            name: result.astype(np.float32) if result.dtype == np.float16 else result
            for name, result in zip(self._output_names, results)
        }

    def _read_input(self, input_size: int | tuple[int, int]) -> None:
        inputs = self._session.get_inputs()
        first = inputs[0]
        usable = first.type in INPUT_TYPES and len(first.shape) == 4 and first.shape[1] == 3
        one_image = usable and (first.shape[0] == 1 or not isinstance(first.shape[0], int))
        if len(inputs) != 1 or not one_image:
            found = ', '.join(f'{one.name} {one.shape} {one.type}' for one in inputs)
            raise ValueError(
                f'{self.path} has the inputs {found}: expected one, images (1 or any, 3, height, width)'
            )
        self._input_name, self._input_type = first.name, INPUT_TYPES[first.type]
        sides = input_size if isinstance(input_size, tuple | list) else (input_size, input_size)
        self.input_hw = tuple(
            fixed if isinstance(fixed, int) else int(side) for fixed, side in zip(first.shape[2:], sides)
        )

    def _recognise(self) -> str:
        """Layout of the outputs, from those for a grey image."""
        try:
            outputs = self._run(np.full((*self.input_hw, 3), float(PADDING)))
        except Exception as error:  # onnxruntime's errors have no common class
            raise ValueError(
                f'{self.path} cannot take an image of {self.input_hw[0]} x {self.input_hw[1]} '
                f'({" ".join(str(error).split())})'
            ) from error
        shapes = {name: array.shape for name, array in outputs.items()}
        if {'dets', 'labels'} <= outputs.keys() and shapes['dets'][-1] == 5:
            return 'dets, labels'
        logits, boxes = shapes.get('logits', ()), shapes.get('pred_boxes', ())
        if len(logits) == 3 and boxes == (*logits[:2], 4) and logits[2] > self.person_class:
            return QUERIES
        first = outputs[self._output_names[0]]
        if len(outputs) == 1 and first.ndim == 3 and first.shape[2] > 5 + self.person_class:
            for strides in STRIDES:
                self._cells = grid_cells(self.input_hw, strides)
                if len(self._cells[0]) == first.shape[1]:
                    return self._grid_or_decoded(first[0, :, :2])
        found = ', '.join(f'{name} {shape}' for name, shape in shapes.items())
        raise ValueError(
            f'{self.path} has the outputs {found} for an input of {self.input_hw[0]} x {self.input_hw[1]}: '
            f'{EXPECTED}'
        )

    def _grid_or_decoded(self, centers: np.ndarray) -> str:
        """Decoded centres lie near their cells, offsets near zero: which describes these (N, 2) better?"""
        if not np.isfinite(centers).all():
            raise ValueError(f'{self.path} gives boxes that are not finite for a grey image')
        corners, strides = self._cells
        from_cell = np.abs(centers / strides - (corners + 0.5)).mean()
        from_zero = np.abs(centers - 0.5).mean()
        return 'decoded' if from_cell < from_zero else 'grid'

    def _guess_family(self) -> str:
        if self.layout != 'dets, labels':
            return STRETCHED if self.layout == QUERIES else 'yolox'
        named = [family for family in ('yolox', 'rtmdet') if family in self.path.lower()]
        if len(named) == 1:
            return named[0]
        raise ValueError(
            f"{self.path} has MMDeploy's outputs dets and labels, which YOLOX and RTMDet share, but they "
            f"take different inputs: say which it is, 'rtmdet:{self.path}' or 'yolox:{self.path}'"
        )


def letterbox(image: np.ndarray, input_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scale an image to fit and pad it to the right and below with grey.

    Args:
        image: (H, W, 3) uint8.
        input_hw: Height and width of the result.

    Returns:
        (*input_hw, 3) uint8, and the scale in x and y, (2,) float64.
    """
    import cv2

    height, width = image.shape[:2]
    ratio = min(input_hw[0] / height, input_hw[1] / width)
    new_wh = max(1, int(width * ratio)), max(1, int(height * ratio))
    padded = np.full((*input_hw, 3), PADDING, np.uint8)
    padded[: new_wh[1], : new_wh[0]] = cv2.resize(image, new_wh, interpolation=cv2.INTER_LINEAR)
    return padded, np.array([new_wh[0] / width, new_wh[1] / height])


def stretch(image: np.ndarray, input_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scale an image to the whole of a network's input, whatever its shape, and turn BGR to RGB.

    Where it shrinks, all pixels count, as in the resizing of Pillow that D-FINE was trained with.

    Args:
        image: (H, W, 3) uint8, BGR.
        input_hw: Height and width of the result.

    Returns:
        (*input_hw, 3) uint8, RGB, and the scale in x and y, (2,) float64.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    resized = np.asarray(picture.resize(input_hw[::-1], Image.Resampling.BILINEAR))
    return resized, np.array([input_hw[1] / image.shape[1], input_hw[0] / image.shape[0]])


def grid_cells(input_hw: tuple[int, int], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Cells of YOLOX in its order: stride by stride, row by row.

    Returns:
        Column and row of each cell (N, 2), and its stride in pixels (N, 1).
    """
    corners, sizes = [], []
    for stride in strides:
        rows, columns = (int(side / stride) for side in input_hw)
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        sizes.append(np.full((rows * columns, 1), stride))
    return np.concatenate(corners), np.concatenate(sizes)


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
    """Non-maximum suppression: indices of the boxes (N, 4) that are kept, by descending score."""
    import cv2

    if not len(boxes):
        return np.zeros(0, dtype=np.int64)
    corner_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(corner_size.tolist(), scores.tolist(), score_threshold=0.0, nms_threshold=iou)
    return np.asarray(kept, dtype=np.int64).reshape(-1)


def _open(path: str, device: str, threads: int | None):
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('a detector from an ONNX file needs: pip install onnxruntime') from error
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: there is no such detector file{similar_path(path)}')
    check_onnx(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    providers = ['CPUExecutionProvider']
    if device.startswith('cuda') and 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        providers.insert(0, 'CUDAExecutionProvider')
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common class
        raise ValueError(
            f'{path} cannot be opened by onnxruntime ({" ".join(str(error).split())})'
        ) from error
