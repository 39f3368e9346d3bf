# python tools/train.py configs/hpe/vitpose_s_coco.py
# COCO val, 256x192, 56.4 AP person boxes: 73.8 AP (ViTPose, arXiv 2204.12484). Not run by us yet.
# The S models are not in the paper; the number is from its repository.
_base_ = './vitpose_b_coco.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.1,
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_small_20230913.pth',
        ),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
