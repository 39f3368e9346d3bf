# python tools/train.py configs/hmr/gmfhmr2_t_s3_mixed.py
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
# Initial weights: the encoder of a pose model, trained with configs/hpe/gmfpose_t_s3_coco.py.
_base_ = '../_base_/hmr2_mixed.py'

model = dict(
    backbone=dict(
        type='TruncatedGMF',
        arch='tiny',
        num_stages=3,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/gmfpose_t_s3_coco.pth'),
    ),
    neck=dict(in_channels=200, in_stride=16, out_channels=200),
    head=dict(in_channels=200),
)
