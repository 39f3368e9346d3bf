# mmhier convert vitpose+_base.pth plus_b.pth --whole-model --dataset all
# python tools/test.py configs/multi/vitpose_plus_b_released.py plus_b.pth
# Released ViTPose+ weights, all data sets in one run: COCO 77.0 AP (ViTPose's repository). Not run by us yet.
# Its targets of all but COCO and MPII are MSRA's, without UDP.
_base_ = ['./vitpose_plus_b.py', '../_base_/datasets/msra_256x192.py']

msra = ['aic', 'ap10k', 'apt36k', 'wholebody']
model = dict(
    head=dict(
        heads={name: dict(decoder=_base_.msra_codec) for name in msra},
        test_options={name: dict(shift_heatmap=True) for name in msra},
    ),
)
val_dataloader = dict(dataset=dict(datasets={name: dict(pipeline=_base_.msra_pipeline) for name in msra}))
test_dataloader = val_dataloader
