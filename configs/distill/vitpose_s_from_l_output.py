# python tools/train.py configs/distill/vitpose_s_from_l_output.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Teacher: a model of configs/hpe/vitpose_l_coco.py in pretrained/ or work_dirs/, or a released one.
_base_ = '../hpe/vitpose_s_coco.py'

model = dict(type='DistilledPoseEstimator', teacher=dict(config='vitpose_l_coco'))
