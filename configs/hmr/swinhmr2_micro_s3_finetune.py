# make quickstart                                                     (the shipped mesh model, 128x96 crops)
# python tools/train.py configs/hmr/swinhmr2_micro_s3_finetune.py
# From the shipped model; 300 held-out simple scenes: PA-MPJPE 77.7 mm (our log of make quickstart).
_base_ = './swinhmr2_micro_s3_synth.py'

load_from = 'swinhmr2-micro'
model = dict(backbone=dict(init_cfg=None), discriminator=None, adversarial_loss=None, mocap=None)

max_epochs = 11
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LayerIdDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0),
)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=50, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
