"""People of a benchmark on their way from its original files into an npz file; who is left out is counted.

:mod:`.benchmark_images` and :mod:`.benchmark_bodies` read the originals.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmhier.datasets.mesh.npz_dataset import ROW_SHAPES
from mmhier.datasets.mesh.writer import BOX_PADDING, write_people

NARROW_BOX = 'box narrower than a pixel'
# Of the box before padding, which :mod:`.annotation` demands after it.
MIN_BOX_SIDE = 1.0


@dataclass
class BenchmarkPeople:
    """What has been read so far.

    Attributes:
        name: The benchmark, for messages.
        imgname: Image of each person that is kept.
        boxes: Tight boxes, pixels: left, top, width, height.
        fields: Fields of ``ROW_SHAPES``, a list of rows each.
        gender: Of the body of each person, if there are bodies.
        skipped: Reason -> how many people.
    """

    name: str
    imgname: list[str] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    fields: dict[str, list[np.ndarray]] = field(default_factory=dict)
    gender: list[str] = field(default_factory=list)
    skipped: Counter = field(default_factory=Counter)

    def add(
        self,
        imgname: Sequence[str],
        boxes: np.ndarray,
        fields: dict[str, np.ndarray],
        gender: str | None = None,
    ) -> None:
        """Keep N people whose box is wide enough.

        Args:
            imgname: N paths relative to the folder of images.
            boxes: (N, 4) pixels: left, top, width, height.
            fields: Field of ``ROW_SHAPES`` -> N rows.
            gender: Of their bodies.
        """
        wide = (np.asarray(boxes)[:, 2:] >= MIN_BOX_SIDE).all(1)
        self.skip(NARROW_BOX, int((~wide).sum()))
        rows = np.flatnonzero(wide)
        self.imgname += [imgname[row] for row in rows]
        self.boxes += [boxes[row] for row in rows]
        for name, value in fields.items():
            self.fields.setdefault(name, []).extend(value[row] for row in rows)
        if gender is not None:
            self.gender += [gender] * len(rows)

    def skip(self, reason: str, count: int = 1) -> None:
        """Count people who are left out."""
        if count:
            self.skipped[reason] += count

    def summary(self) -> str:
        """How many people were read, kept and left out, and why."""
        kept, left_out = len(self.imgname), sum(self.skipped.values())
        reasons = '; '.join(f'{count}: {reason}' for reason, count in self.skipped.most_common())
        text = f'{self.name}: {kept + left_out} people read, {kept} kept, {left_out} left out'
        return f'{text} ({reasons})' if reasons else text

    def write(self, path: str | Path, padding: float = BOX_PADDING) -> None:
        """Write the npz file.

        Raises:
            ValueError: If nobody is left.
        """
        if not self.imgname:
            raise ValueError(f'nobody is left to write to {path}; {self.summary()}')
        fields = {
            name: np.stack(rows).astype(np.float32).reshape(-1, *ROW_SHAPES[name])
            for name, rows in self.fields.items()
        }
        write_people(path, self.imgname, np.stack(self.boxes), fields, padding, self.gender or None)
