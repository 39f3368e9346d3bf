# python tools/train.py configs/multi/vitpose_plus_h.py   (128 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: 79.4 AP (ViTPose's repository, with its own targets, see
# docs/many_datasets.md). Not run by us yet.
_base_ = './vitpose_plus_b.py'

model = dict(
    backbone=dict(
        arch='huge',
        drop_path_rate=0.55,
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_huge_20230913.pth',
        ),
    ),
    neck=dict(in_channels=1280, in_stride=16, out_channels=1280),
    head=dict(common=dict(in_channels=1280)),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
