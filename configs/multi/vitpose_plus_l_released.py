# mmhier convert vitpose+_large.pth plus_l.pth --whole-model --dataset all
# python tools/test.py configs/multi/vitpose_plus_l_released.py plus_l.pth
# Released ViTPose+ weights, all data sets in one run: COCO 78.6 AP (ViTPose's repository). Not run by us yet.
_base_ = './vitpose_plus_b_released.py'

model = dict(
    backbone=dict(arch='large'),
    neck=dict(in_channels=1024, in_stride=16, out_channels=1024),
    head=dict(common=dict(in_channels=1024)),
)
