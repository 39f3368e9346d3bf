# python tools/train.py configs/hpe/gmfpose_s_s3_coco.py
# COCO val: not run by us yet.
# Initial weights: no direct link exists. Take groupmixformer_small.pth from the links in the README of
# https://github.com/AILab-CVC/GroupMixFormer and put it where init_cfg says.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedGMF',
        arch='small',
        num_stages=3,
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/groupmixformer_small.pth'),
    ),
    neck=dict(in_channels=320, in_stride=16, out_channels=320),
    head=dict(in_channels=320, decoder=_base_.codec),
)
