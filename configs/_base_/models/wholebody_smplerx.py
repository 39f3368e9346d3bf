# Encoder with task tokens -> SMPLer-X's head -> SMPL-X, with the official losses and their quirks (arXiv
# 2309.17448). Crops of 512 x 384 of which every second pixel is used, RGB from 0 to 1. A leaf names the size.
model = dict(
    type='TopdownMeshEstimator',
    data_preprocessor=dict(
        type='MeshDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        shrink=2,
        average=False,
    ),
    backbone=dict(type='ViT', img_size=(256, 192), num_task_tokens=31),
    head=dict(type='SMPLerXHead'),
    # SMPL-X itself: mmhier body-model setup FILE_OR_ZIP.
    body_model='smplx_neutral',
    loss=dict(type='WholeBodyLoss', hand_grids_need_a_box=True, points_need_depth=True),
)
