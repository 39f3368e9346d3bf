# python tools/train.py configs/hmr/hmr2_h_mixed.py          (48 per GPU x 8)
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
# The model of the HMR2.0 paper; 2.0b there: 3DPW 81.3 MPJPE, 54.3 PA-MPJPE; COCO 0.86 / 0.96, PoseTrack
# 0.90 / 0.98 PCK (arXiv 2305.20091).
# Initial weights: the encoder of a model of configs/hpe/vitpose_h_coco.py, or a release of ViTPose.
_base_ = '../_base_/hmr2_mixed.py'

model = dict(
    backbone=dict(
        type='ViT',
        arch='huge',
        img_size=(256, 192),
        drop_path_rate=0.55,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_h_coco.pth'),
    ),
    neck=dict(in_channels=1280, in_stride=16, out_channels=1280),
    head=dict(in_channels=1280, arch='huge'),
    # As the demo of HMR2.0 cuts out what its detector finds; its evaluation does neither.
    test_cfg=dict(padding=1.0, blur=True),
)
