# python tools/train.py configs/hpe/vitpose_h_simple_coco.py
# COCO val, 256x192, 56.4 AP person boxes: 78.9 AP (ViTPose, arXiv 2204.12484). Not run by us yet.
_base_ = './vitpose_b_simple_coco.py'

model = dict(
    backbone=dict(
        arch='huge',
        drop_path_rate=0.55,
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_huge_20230913.pth',
        ),
    ),
    head=dict(in_channels=1280),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85))
