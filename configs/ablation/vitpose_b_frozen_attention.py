# python tools/train.py configs/ablation/vitpose_b_frozen_attention.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Fine-tuned from MAE but for the attention of all blocks.
_base_ = '../hpe/vitpose_b_coco.py'

model = dict(backbone=dict(frozen_parts='attention'))
