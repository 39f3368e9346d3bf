# python tools/train.py configs/multi/swinpose_t_s3_seven.py   (64 per GPU x 8)
# COCO, AIC, MPII, CrowdPose, AP-10K, APT-36K and COCO-WholeBody: not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/seven_256x192.py',
    '../_base_/models/pose_many.py',
]

model = dict(
    backbone=dict(
        type='TruncatedSwin',
        arch='tiny',
        num_stages=3,
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
            'swin_tiny_patch4_window7_224.pth',
        ),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(
        common=dict(in_channels=384, decoder=_base_.codec),
        heads={name: dict(out_channels=_base_.keypoints[name]) for name in _base_.data_sets},
    ),
)
