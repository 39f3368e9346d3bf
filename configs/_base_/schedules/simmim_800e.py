# SimMIM's schedule: 800 epochs in batches of 2048, the rate drops once near the end as by its authors.
max_epochs = 800
train_cfg = dict(by_epoch=True, max_epochs=max_epochs)

optim_wrapper = dict(
    # 1e-4 per 512 images
    optimizer=dict(type='AdamW', lr=1e-4 * 2048 / 512, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LayerIdDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0),
    clip_grad=dict(max_norm=5.0, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=10, start_factor=5e-3, by_epoch=True, convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=max_epochs, milestones=[700], gamma=0.1, by_epoch=True),
]
auto_scale_lr = dict(base_batch_size=2048)
