# python tools/train.py configs/wholebody/gmfsmplerx_b_s3_mix32.py          (32 per GPU x 16)
# Ours and unpublished: SMPLer-X's head behind a truncated encoder. Not run by us yet.
# Initial weights: the encoder of a pose model, trained with configs/hpe/gmfpose_b_s3_coco.py.
_base_ = '../_base_/wholebody_mixed.py'

model = dict(
    backbone=dict(
        type='TruncatedGMF',
        arch='base',
        num_stages=3,
        drop_path_rate=0.5,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/gmfpose_b_s3_coco.pth'),
    ),
    neck=dict(in_channels=320, in_stride=16, out_channels=320),
    head=dict(in_channels=320),
)
