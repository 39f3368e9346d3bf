# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/hmr/vmhmr2_t_s3_synth.py
# Held-out synthetic people: not run by us yet.
# Initial weights: the encoder of a pose model, trained with configs/hpe/vmpose_t_s3_synth.py.
_base_ = '../_base_/hmr2_synth.py'

model = dict(
    backbone=dict(
        type='TruncatedVMamba',
        arch='tiny',
        num_stages=3,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vmpose_t_s3_synth/epoch_30.pth'),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384),
)
