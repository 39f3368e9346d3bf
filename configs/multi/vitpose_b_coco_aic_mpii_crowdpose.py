# python tools/train.py configs/multi/vitpose_b_coco_aic_mpii_crowdpose.py   (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: 77.5 AP (ViTPose's repository). Not run by us yet.
# CrowdPose's training pictures may be among the others' validation pictures (ViTPose's README).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_aic_mpii_crowdpose_256x192.py',
    '../_base_/models/pose_many.py',
]

model = dict(
    backbone=dict(
        type='ViT',
        arch='base',
        img_size=(256, 192),
        drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_base_20230913.pth',
        ),
    ),
    neck=dict(in_channels=768, in_stride=16, out_channels=768),
    head=dict(
        common=dict(in_channels=768, decoder=_base_.codec),
        heads={name: dict(out_channels=_base_.keypoints[name]) for name in _base_.data_sets},
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
