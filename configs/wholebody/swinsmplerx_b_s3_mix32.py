# python tools/train.py configs/wholebody/swinsmplerx_b_s3_mix32.py          (32 per GPU x 16)
# Ours and unpublished: SMPLer-X's head behind a truncated encoder. Not run by us yet.
# Initial weights: the encoder of a pose model, trained with configs/hpe/swinpose_b_s3_coco.py.
_base_ = '../_base_/wholebody_mixed.py'

model = dict(
    backbone=dict(
        type='TruncatedSwin',
        arch='base',
        num_stages=3,
        drop_path_rate=0.5,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/swinpose_b_s3_coco.pth'),
    ),
    neck=dict(in_channels=512, in_stride=16, out_channels=512),
    head=dict(in_channels=512),
)
