# python tools/train.py configs/ablation/vitpose_b_stride8_pool.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Attention within windows of 8 x 8 tokens and to the means of all windows.
_base_ = './vitpose_b_stride8_full.py'

model = dict(backbone=dict(attention='pool', window_size=(8, 8)))
