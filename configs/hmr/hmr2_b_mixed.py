# python tools/train.py configs/hmr/hmr2_b_mixed.py          (48 per GPU x 8)
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
# The decoder lies between those of S and L and is our choice; there is no release of this size.
# Initial weights: the encoder of a model of configs/hpe/vitpose_b_coco.py, or a release of ViTPose.
_base_ = '../_base_/hmr2_mixed.py'

model = dict(
    backbone=dict(
        type='ViT',
        arch='base',
        img_size=(256, 192),
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_b_coco.pth'),
    ),
    neck=dict(in_channels=768, in_stride=16, out_channels=768),
    head=dict(in_channels=768, arch='base'),
    # As the demo of HMR2.0 cuts out what its detector finds; its evaluation does neither.
    test_cfg=dict(padding=1.0, blur=True),
)
