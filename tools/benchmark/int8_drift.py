"""What int8, fp16 and bf16 move: a trained model's exports beside the model, in pixels or millimetres.

Ranges are chosen on crops of one folder and compared on those of another.

    python tools/benchmark/int8_drift.py swinpose_micro_s3_synth work_dirs/quickstart/train/epoch_20.pth \
        --data work_dirs/quickstart/data --out docs/benchmarks/int8_drift.csv
"""

import argparse
import tempfile
from pathlib import Path

from rows import add_rows

from mmhier.deploy import export_model
from mmhier.inference.estimators import load_estimator
from mmhier.inference.sample_crops import read_crops
from mmhier.tables import markdown

FIELDS = (
    'model', 'format', 'precision', 'quantity', 'unit', 'crops', 'values', 'mean', 'median', 'p99', 'max',
    'share_beyond_2',
)  # fmt: skip
CASES = (('openvino', 'int8'), ('onnx', 'int8'), ('onnx', 'fp16'), ('openvino', 'bf16'))


def main() -> None:
    """Export, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--data', type=Path, required=True, help='folder of mmhier synth')
    parser.add_argument('--calibration', type=int, default=128, help='crops of training images')
    parser.add_argument('--crops', type=int, default=300, help='crops of held-out images')
    parser.add_argument(
        '--cases',
        nargs='+',
        default=CASES,
        type=lambda text: tuple(text.split(':')),
        help='such as openvino:int8 (default: all)',
    )
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    estimator = load_estimator(args.config, args.checkpoint, 'cpu')
    crops = {}
    for split, count in (('train', args.calibration), ('val', args.crops)):
        boxes = args.data / 'annotations' / f'person_keypoints_{split}.json'
        crops[split] = read_crops(estimator, args.data / 'images' / split, boxes, count)[0]
    rows = []
    for kind, precision in args.cases:
        with tempfile.TemporaryDirectory() as folder:
            parity = export_model(
                estimator.model,
                crops['val'],
                Path(folder) / ('model.xml' if kind == 'openvino' else 'model.onnx'),
                kind,
                dynamic_batch=True,
                precision=precision,
                calibration=crops['train'] if precision == 'int8' else None,
                bound=float('inf'),
            )
        for quantity, values in parity.differences.items():
            numbers = [f'{values[name]:.4g}' for name in FIELDS[7:]]
            rows.append(
                (
                    estimator.name,
                    kind,
                    precision,
                    quantity,
                    parity.unit,
                    parity.crops,
                    parity.values,
                    *numbers,
                )
            )
    print(markdown(FIELDS, [tuple(map(str, row)) for row in rows]))
    if args.out:
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
