# MAE's schedule (1600 epochs in batches of 4096); ViTPose's, for crops of people as well.
max_epochs = 1600
train_cfg = dict(by_epoch=True, max_epochs=max_epochs)

optim_wrapper = dict(
    # 1.5e-4 per 256 images
    optimizer=dict(type='AdamW', lr=1.5e-4 * 4096 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys=dict(_token=dict(decay_mult=0.0))
    ),
)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=40, start_factor=1e-4, by_epoch=True, convert_to_iter_based=True),
    # from the start, as the other recipes here: at epoch 40 a factor of 0.998
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=4096)
