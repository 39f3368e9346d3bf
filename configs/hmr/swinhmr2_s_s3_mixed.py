# python tools/train.py configs/hmr/swinhmr2_s_s3_mixed.py          (48 per GPU x 8)
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
# Initial weights: the encoder of a pose model, trained with configs/hpe/swinpose_s_s3_coco.py.
_base_ = '../_base_/hmr2_mixed.py'

model = dict(
    backbone=dict(
        type='TruncatedSwin',
        arch='small',
        num_stages=3,
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/swinpose_s_s3_coco.pth'),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384),
)
