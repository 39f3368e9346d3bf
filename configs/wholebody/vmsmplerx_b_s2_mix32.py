# python tools/train.py configs/wholebody/vmsmplerx_b_s2_mix32.py          (32 per GPU x 16)
# Ours and unpublished: SMPLer-X's head behind a truncated encoder. Not run by us yet.
_base_ = './vmsmplerx_b_s3_mix32.py'

model = dict(
    backbone=dict(num_stages=2, init_cfg=dict(checkpoint='pretrained/vmpose_b_s2_coco.pth')),
    neck=dict(in_channels=256, in_stride=8),
)
