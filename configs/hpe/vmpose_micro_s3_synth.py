# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/hpe/vmpose_micro_s3_synth.py            (random initial weights, 128x96 crops)
# Held-out synthetic people: not run by us at this length.
_base_ = './swinpose_micro_s3_synth.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TruncatedVMamba',
        arch=dict(embed_dims=32, depths=[1, 2, 4, 1]),
        num_stages=3,
        drop_path_rate=0.0,
    )
)
