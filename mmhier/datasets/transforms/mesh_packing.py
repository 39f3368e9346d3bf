"""From the pipeline's dictionary to what a model takes; the fields are those of :mod:`mmhier.mesh_sample`."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData
from mmpose.registry import TRANSFORMS
from mmpose.structures import PoseDataSample

from mmhier.mesh_sample import META_KEYS, layout_of


@TRANSFORMS.register_module()
class PackMeshInputs(BaseTransform):
    """Make ``inputs`` and ``data_samples``."""

    def transform(self, results: dict) -> dict:
        """Return ``inputs`` (3, height, width) and a ``PoseDataSample``.

        Raises:
            ValueError: If a field has another shape than it should.
        """
        image = results['img']
        results['img_shape'] = image.shape[:2]
        layout = layout_of(results)
        results['input_size'] = layout.input_size_wh
        labels = InstanceData()
        fields = results | dict(has_global_orient=results['has_body_pose'])
        for name, shape in layout.label_shapes.items():
            value = np.asarray(fields[name], np.float32)
            if value.shape != shape:
                raise ValueError(f'{results["sample_key"]}: {name} is {value.shape}, it should be {shape}')
            labels.set_field(value[None], name, dtype=np.ndarray)
        keypoints = results.get('original_keypoints_2d', results['keypoints_2d'])
        sample = PoseDataSample(
            metainfo={key: results[key] for key in META_KEYS if key in results} | dict(layout=layout.name)
        )
        sample.gt_instance_labels = labels
        sample.gt_instances = InstanceData(
            keypoints=keypoints[None, :, :2],
            keypoints_confidence=keypoints[None, :, 2],
            bbox_centers=results['center'][None],
            bbox_scales=results['scale'][None],
        )
        return dict(inputs=torch.from_numpy(image.transpose(2, 0, 1).copy()), data_samples=sample)
