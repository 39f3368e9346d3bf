# python tools/train.py configs/ablation/vitpose_b_stride8_full.py          (64 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: not run by us yet.
# Four times as many tokens as at stride 16; one deconvolution leads to the usual size of heatmaps.
_base_ = '../hpe/vitpose_b_coco.py'

model = dict(
    backbone=dict(patch_stride=8),
    neck=None,
    head=dict(deconv_out_channels=(256,), deconv_kernel_sizes=(4,)),
)
