# python tools/train.py configs/hmr/hmr2_l_mixed.py          (48 per GPU x 8)
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
# The decoder is that of HMR2.0-H.
# Initial weights: the encoder of a model of configs/hpe/vitpose_l_coco.py, or a release of ViTPose.
_base_ = '../_base_/hmr2_mixed.py'

model = dict(
    backbone=dict(
        type='ViT',
        arch='large',
        img_size=(256, 192),
        drop_path_rate=0.5,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_l_coco.pth'),
    ),
    neck=dict(in_channels=1024, in_stride=16, out_channels=1024),
    head=dict(in_channels=1024, arch='large'),
    # As the demo of HMR2.0 cuts out what its detector finds; its evaluation does neither.
    test_cfg=dict(padding=1.0, blur=True),
)
