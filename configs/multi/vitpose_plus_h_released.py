# mmhier convert vitpose+_huge.pth plus_h.pth --whole-model --dataset all
# python tools/test.py configs/multi/vitpose_plus_h_released.py plus_h.pth
# Released ViTPose+ weights, all data sets in one run: COCO 79.4 AP (ViTPose's repository). Not run by us yet.
_base_ = './vitpose_plus_b_released.py'

model = dict(
    backbone=dict(arch='huge'),
    neck=dict(in_channels=1280, in_stride=16, out_channels=1280),
    head=dict(common=dict(in_channels=1280)),
)
