# python tools/test.py configs/eval/vitpose_b_ochuman.py CHECKPOINT
# OCHuman test, annotated boxes: 88.0 AP of COCO + AIC + MPII (ViTPose). Not run by us yet.
# As ViTPose evaluates it: targets without UDP, mirrored heatmaps shifted by a pixel.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/many_256x192.py',
    '../_base_/datasets/msra_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='ViT',
        arch='base',
        img_size=(256, 192),
    ),
    neck=dict(in_channels=768, in_stride=16, out_channels=768),
    head=dict(in_channels=768, out_channels=_base_.keypoints['ochuman'], decoder=_base_.msra_codec),
    test_cfg=dict(shift_heatmap=True),
)
test_dataloader = dict(
    dataset=dict(_delete_=True, **dict(_base_.val_sets['ochuman'], pipeline=_base_.msra_pipeline))
)
test_evaluator = dict(_delete_=True, **_base_.metrics['ochuman'])
test_cfg = dict()
val_dataloader = test_dataloader
val_evaluator = test_evaluator
val_cfg = test_cfg
train_dataloader = None
