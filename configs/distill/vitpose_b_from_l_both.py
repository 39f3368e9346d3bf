# python tools/train.py configs/distill/vitpose_b_from_l_both.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Teacher: as of vitpose_b_from_l_output.py; its token: as of this one's base.
_base_ = './vitpose_b_from_l_token.py'

model = dict(type='DistilledPoseEstimator', teacher=dict(config='vitpose_l_coco'))
