# make quickstart                                                     (the shipped pose model, 128x96 crops)
# python tools/train.py configs/hpe/swinpose_micro_s3_finetune.py
# From the shipped model; 300 held-out simple scenes: AP 0.628, AR 0.668 (our log of make quickstart).
_base_ = './swinpose_micro_s3_synth.py'

load_from = 'swinpose-micro'

max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=50, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
