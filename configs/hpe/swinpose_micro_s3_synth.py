# make quickstart                                                   (random initial weights, 128x96 crops)
# python tools/train.py configs/hpe/swinpose_micro_s3_synth.py
_base_ = './swinpose_t_s3_synth.py'

codec = dict(type='UDPHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=1.5)

model = dict(
    backbone=dict(
        arch=dict(embed_dims=32, depths=[1, 2, 4], num_heads=[1, 2, 4], window_size=4), drop_path_rate=0.0
    ),
    neck=dict(in_channels=128, out_channels=128),
    head=dict(in_channels=128, deconv_out_channels=(128, 64), decoder=codec),
    test_cfg=dict(flip_test=True),
)
