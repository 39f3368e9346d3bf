"""One annotated person, checked: from what a file holds to the fields of :mod:`mmhier.mesh_sample`.

What is missing becomes zeros with a flag or confidence of 0. What is there but of no use makes the whole
person unusable, for one of :data:`PROBLEMS`; it is the data set that counts, reports and drops, or refuses.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mmhier.mesh_sample import SMPL_LAYOUT, SampleLayout

# A person's problem is stored as its number here.
PROBLEMS = (
    '',
    'no box, or one narrower than a pixel',
    'a field of another shape than the layout of its samples has',
    'a number that is not finite',
    'a box outside of the image',
    'left out by the rules of its data set',
)


def check_annotation(
    fields: Mapping[str, np.ndarray], layout: SampleLayout = SMPL_LAYOUT
) -> tuple[np.ndarray, int]:
    """Bring the fields of a person into order.

    Args:
        fields: Some of the layout's, any numeric type; those of pose may be flat. Without a flag parameters
            count as known if they are there.
        layout: Of the sample.

    Returns:
        A record of the layout's type, shape (), and the number of the problem. With a problem the record is
        zero.
    """
    record = np.zeros((), layout.dtype)
    record['fitting_error'] = np.nan
    present = {
        name: np.asarray(value, np.float32)
        for name, value in fields.items()
        if name in layout.annotation_shapes
    }
    for name, value in present.items():
        if value.size != record[name].size:
            return np.zeros((), layout.dtype), 2
        record[name] = value.reshape(record[name].shape)
    if not all(np.isfinite(record[flag]) for flag in layout.known_by):
        return np.zeros((), layout.dtype), 3
    for flag, names in layout.known_by.items():
        known = all(name in present for name in names)
        record[flag] = known and (flag not in present or record[flag] > 0)
        if not record[flag]:
            for name in names:
                record[name] = 0
    for name in layout.keypoint_fields:
        confidence = record[name][:, -1]
        record[name][confidence <= 0] = 0
    if not all(np.isfinite(record[name]).all() for name in record.dtype.names if name != 'fitting_error'):
        return np.zeros((), layout.dtype), 3
    if 'center' not in present or not (record['scale'] >= 1).all():
        return np.zeros((), layout.dtype), 1
    return record, 0


def count_problems(problems: Sequence[int] | np.ndarray) -> dict[str, int]:
    """How many people have which problem, without those that have none."""
    numbers, counts = np.unique(np.asarray(problems, int), return_counts=True)
    return {PROBLEMS[number]: int(count) for number, count in zip(numbers, counts, strict=True) if number}


def to_results(record: np.ndarray) -> dict[str, np.ndarray | float]:
    """The fields of a record of a layout as the pipeline wants them; own copies."""
    fields = {name: record[name] for name in record.dtype.names}
    return {name: np.array(value) if np.ndim(value) else float(value) for name, value in fields.items()}
