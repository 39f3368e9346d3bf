# python tools/train.py configs/multi/vitpose_l_coco_aic_mpii_crowdpose.py   (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: 79.1 AP (ViTPose's repository). Not run by us yet.
# CrowdPose's training pictures may be among the others' validation pictures (ViTPose's README).
_base_ = './vitpose_b_coco_aic_mpii_crowdpose.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.5,
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_large_20230913.pth',
        ),
    ),
    neck=dict(in_channels=1024, in_stride=16, out_channels=1024),
    head=dict(common=dict(in_channels=1024)),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
