# python tools/train.py configs/hpe/swinpose_s_s3_coco.py          (64 per GPU x 8; see --auto-scale-lr)
# COCO val, 256x192, 56.4 AP person boxes: 74.6 AP (paper, arXiv 2510.12660). Not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedSwin',
        arch='small',
        num_stages=3,
        drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
            'swin_small_patch4_window7_224.pth',
        ),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384, decoder=_base_.codec),
)
