# python tools/train.py configs/hpe/gmfpose_t_s3_coco.py
# COCO val, 256x192, 56.4 AP person boxes: 75.7 AP (paper, arXiv 2510.12660). Not run by us yet.
# Initial weights: no direct link exists. Take groupmixformer_tiny.pth from the links in the README of
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
        arch='tiny',
        num_stages=3,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/groupmixformer_tiny.pth'),
    ),
    neck=dict(in_channels=200, in_stride=16, out_channels=200),
    head=dict(in_channels=200, decoder=_base_.codec),
)
