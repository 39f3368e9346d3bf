"""Packing with the truth that only metrics of whole bodies read.

``data_samples.gt_instances`` get, where the annotation has them, beside the fields of
:mod:`mmhier.mesh_sample`:

| field             | shape      | unit and frame |
|-------------------|------------|----------------|
| transl            | (N, 3)     | metres, the body's origin in the frame of the camera |
| camera_intrinsics | (N, 4)     | focal lengths and principal point (fx, fy, cx, cy), pixels of the image |
| vertices          | (N, V, 3)  | metres, axes of the camera |
| skeleton          | (N, 24, 3) | joints of SMPL, metres, axes of the camera |
"""

import numpy as np
from mmpose.registry import TRANSFORMS

from mmhier.datasets.transforms.mesh_packing import PackMeshInputs


@TRANSFORMS.register_module()
class PackWholeBodyInputs(PackMeshInputs):
    """Make ``inputs`` and ``data_samples`` for evaluation."""

    def transform(self, results: dict) -> dict:
        """Return what :class:`PackMeshInputs` does, with the fields above.

        Raises:
            ValueError: If a field has another shape than it should.
        """
        packed = super().transform(results)
        truth = packed['data_samples'].gt_instances
        for name, field, is_known in (
            ('transl', 'transl', results.get('has_transl')),
            ('camera_intrinsics', 'camera', results.get('has_camera')),
            ('vertices', 'vertices', 'vertices' in results),
            ('skeleton', 'skeleton', 'skeleton' in results),
        ):
            if is_known:
                truth.set_field(np.asarray(results[field], np.float32)[None], name)
        return packed
