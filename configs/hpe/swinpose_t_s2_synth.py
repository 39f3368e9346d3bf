# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/hpe/swinpose_t_s2_synth.py                     (random initial weights)
# Held-out synthetic people: not run by us yet.
_base_ = './swinpose_t_s3_synth.py'

model = dict(backbone=dict(num_stages=2), neck=dict(in_channels=192, in_stride=8))
