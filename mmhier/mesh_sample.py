"""What a sample of mesh recovery consists of: the one table of its fields.

A data set hands a dictionary to the pipeline (first table), the pipeline hands ``inputs`` and a
``PoseDataSample`` to the model (second table). One sample is one person. Formats and conventions are those
of HMR2.0 (4D-Humans). K = 44 joints, the set ``hmr44`` of :mod:`mmhier.body_models.joint_sets`.

**In the pipeline**: ``results``

| field          | shape        | type    | unit and frame |
|----------------|--------------|---------|----------------|
| sample_key     |              | str     | names the person: file, image, number in the image |
| dataset_name   |              | str     | as the evaluator knows the data set |
| sample_idx     |              | int     | number in the data set |
| img_path       |              | str     | file, or ``TAR:MEMBER``|
| img_bytes      |              | bytes   | encoded image, instead of a file |
| img            | (H, W, 3)    | uint8   | BGR; after loading |
| keypoints_2d   | (K, 3)       | float32 | pixels of the image (the centre of the first is 0), confidence |
| keypoints_3d   | (K, 4)       | float32 | metres, axes of the camera, any origin; confidence |
| global_orient  | (1, 3)       | float32 | axis-angle, radians, body to camera |
| body_pose      | (23, 3)      | float32 | axis-angle, radians, relative to the parent joint |
| betas          | (10,)        | float32 | components of SMPL's shape |
| has_body_pose  |              | float   | 1: ``global_orient`` and ``body_pose`` are known; 0: zeros |
| has_betas      |              | float   | 1: ``betas`` are known; 0: zeros |
| fitting_error  |              | float   | how badly the annotated body fits the image; NaN: unknown |
| rng            |              | Generator | optional: where augmentation draws its random numbers from |
| center         | (2,)         | float32 | centre of the annotated box, pixels of the image, (x, y) |
| scale          | (2,)         | float32 | size of the annotated box, pixels of the image, (width, height) |

**For the model**: ``inputs`` (3, 256, 192), rows then columns, BGR from 0 to 255, float32 (uint8 where no
colours are changed or they are rounded). They are columns 32 to 223 of a square crop of 256 x 256 pixels.

``data_samples.gt_instance_labels``, what the losses read: after augmentation, as the crop shows the person.
Arrays with N = 1 in front, so that a batch is their concatenation (tensors would be sent one by one from the
loader's processes, and to the device). Without augmentation, as in evaluation, they are the annotation.

| field             | shape      | type    | unit and frame |
|-------------------|------------|---------|----------------|
| keypoints_2d      | (N, K, 3)  | float32 | sides of the square, from -0.5 (left, top) to 0.5; confidence |
| keypoints_3d      | (N, K, 4)  | float32 | metres, axes of the crop's camera, any origin; confidence |
| global_orient     | (N, 1, 3)  | float32 | axis-angle, radians, body to the crop's camera |
| body_pose         | (N, 23, 3) | float32 | axis-angle, radians, relative to the parent joint |
| betas             | (N, 10)    | float32 | components of SMPL's shape |
| has_global_orient | (N,)       | float32 | 1: known; 0: zeros stand there |
| has_body_pose     | (N,)       | float32 | the same |
| has_betas         | (N,)       | float32 | the same |

``data_samples.gt_instances``, what metrics read: the annotation in the image, never augmented. Arrays, N = 1.

| field                | shape     | type    | unit and frame |
|----------------------|-----------|---------|----------------|
| keypoints            | (N, K, 2) | float32 | pixels of the image |
| keypoints_confidence | (N, K)    | float32 | 0: not annotated |
| bbox_centers         | (N, 2)    | float32 | pixels of the image, (x, y): ``center`` above |
| bbox_scales          | (N, 2)    | float32 | pixels of the image, (width, height): ``scale`` above |

``data_samples.metainfo``:

| field         | shape  | type    | unit and frame |
|---------------|--------|---------|----------------|
| sample_key, dataset_name, sample_idx, img_path | | | as above |
| ori_shape     | (2,)   | tuple   | (height, width) of the image |
| img_shape     | (2,)   | tuple   | (height, width) of ``inputs`` |
| input_size    | (2,)   | tuple   | (width, height) of ``inputs`` |
| box_center    | (2,)   | float32 | centre of the square crop, pixels of the image (not mirrored) |
| box_size      |        | float   | side of the square crop in pixels of the image |
| box_rotation  |        | float   | degrees by which the crop turns the (mirrored) person counter-clockwise |
| flip          |        | bool    | whether the crop is mirrored |
| crop_matrix   | (2, 3) | float32 | pixels of the image -> pixels of the 256 x 256 crop, mirroring included |

A confidence of 0 says that a joint is not annotated; what stands beside it means nothing, but is finite.

Convention:
    Camera: x right, y down, z forward, metres. A joint that is annotated has the same place in the crop
    whether one maps its image pixels by ``crop_matrix`` or reads ``keypoints_2d``: ``crop_matrix @ (x, y, 1)
    / 256 - 0.5``. Without rotation and flip that is ``(pixel - box_center) / box_size``.
"""

from mmhier.body_models.joint_sets import JOINT_SETS

JOINTS = JOINT_SETS['hmr44']
NUM_BODY_JOINTS = 23
NUM_BETAS = 10

CROP_SIZE = 256
INPUT_SIZE_WH = (192, 256)

# Field -> shape in the pipeline.
ANNOTATION_SHAPES = {
    'keypoints_2d': (len(JOINTS), 3),
    'keypoints_3d': (len(JOINTS), 4),
    'global_orient': (1, 3),
    'body_pose': (NUM_BODY_JOINTS, 3),
    'betas': (NUM_BETAS,),
    'center': (2,),
    'scale': (2,),
    'has_body_pose': (),
    'has_betas': (),
    'fitting_error': (),
}
# Fields of gt_instance_labels, without N.
LABEL_SHAPES = {
    'keypoints_2d': (len(JOINTS), 3),
    'keypoints_3d': (len(JOINTS), 4),
    'global_orient': (1, 3),
    'body_pose': (NUM_BODY_JOINTS, 3),
    'betas': (NUM_BETAS,),
    'has_global_orient': (),
    'has_body_pose': (),
    'has_betas': (),
}
# Fields of gt_instances, without N.
INSTANCE_SHAPES = {
    'keypoints': (len(JOINTS), 2),
    'keypoints_confidence': (len(JOINTS),),
    'bbox_centers': (2,),
    'bbox_scales': (2,),
}
META_KEYS = (
    'sample_key', 'dataset_name', 'sample_idx', 'img_path', 'ori_shape', 'img_shape', 'input_size',
    'box_center', 'box_size', 'box_rotation', 'flip', 'crop_matrix',
)  # fmt: skip
