# python tools/train.py configs/distill/vitpose_l_knowledge_token.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet. Only the token learns, for ten epochs.
# Teacher: a model of configs/hpe/vitpose_l_coco.py in pretrained/ or work_dirs/, or a released one.
_base_ = '../hpe/vitpose_l_coco.py'

model = dict(
    type='KnowledgeTokenEstimator',
    backbone=dict(knowledge_token=1024, init_cfg=None),
    teacher=dict(config='vitpose_l_coco'),
)
train_cfg = dict(max_epochs=10)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=500, start_factor=0.001, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=10, by_epoch=True, convert_to_iter_based=True),
]
