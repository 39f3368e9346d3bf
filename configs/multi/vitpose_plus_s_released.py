# mmhier convert vitpose+_small.pth plus_s.pth --whole-model --dataset all
# python tools/test.py configs/multi/vitpose_plus_s_released.py plus_s.pth
# Released ViTPose+ weights, all data sets in one run: COCO 75.8 AP (ViTPose's repository). Not run by us yet.
_base_ = './vitpose_plus_b_released.py'

model = dict(
    backbone=dict(arch='small'),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(common=dict(in_channels=384)),
)
