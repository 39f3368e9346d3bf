# python tools/train.py configs/ablation/vitpose_b_stride8_window.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Attention within windows of 8 x 8 tokens that never meet.
_base_ = './vitpose_b_stride8_full.py'

model = dict(backbone=dict(attention='window', window_size=(8, 8)))
