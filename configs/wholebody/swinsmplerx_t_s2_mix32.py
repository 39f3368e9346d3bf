# python tools/train.py configs/wholebody/swinsmplerx_t_s2_mix32.py          (32 per GPU x 16)
# Ours and unpublished: SMPLer-X's head behind a truncated encoder. Not run by us yet.
_base_ = './swinsmplerx_t_s3_mix32.py'

model = dict(
    backbone=dict(num_stages=2, init_cfg=dict(checkpoint='pretrained/swinpose_t_s2_coco.pth')),
    neck=dict(in_channels=192, in_stride=8),
)
