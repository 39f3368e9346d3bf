# python tools/train.py configs/hmr/hmr2_s_mixed.py          (48 per GPU x 8)
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
# The decoder is that of the released HMR2.0-S.
# Initial weights: the encoder of a model of configs/hpe/vitpose_s_coco.py, or a release of ViTPose.
_base_ = '../_base_/hmr2_mixed.py'

model = dict(
    backbone=dict(
        type='ViT',
        arch='small',
        img_size=(256, 192),
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_s_coco.pth'),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384),
    # As the demo of HMR2.0 cuts out what its detector finds; its evaluation does neither.
    test_cfg=dict(padding=1.0, blur=True),
)
