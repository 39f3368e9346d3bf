# python tools/train.py configs/distill/swinpose_t_s2_from_vitpose_b.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Teacher: a model of configs/hpe/vitpose_b_coco.py in pretrained/ or work_dirs/, or a released one.
_base_ = '../hpe/swinpose_t_s2_coco.py'

model = dict(type='DistilledPoseEstimator', teacher=dict(config='vitpose_b_coco'))
