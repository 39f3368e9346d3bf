# python tools/train.py configs/ablation/vitpose_b_stride8_shift_pool.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Windows of 8 x 8 tokens, which every second block shifts, and the means of all windows.
_base_ = './vitpose_b_stride8_full.py'

model = dict(backbone=dict(attention='shift_pool', window_size=(8, 8)))
