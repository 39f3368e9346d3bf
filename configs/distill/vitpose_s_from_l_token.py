# python tools/train.py configs/distill/vitpose_s_from_l_token.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# The token of the teacher is learned before, with configs/distill/vitpose_l_knowledge_token.py.
_base_ = '../hpe/vitpose_s_coco.py'

model = dict(
    backbone=dict(
        knowledge_token=1024,
        init_cfg=dict(knowledge_token='work_dirs/vitpose_l_knowledge_token/epoch_10.pth'),
    )
)
