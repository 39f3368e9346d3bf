# HMR2.0's recipe: 500k steps of 48 people per GPU x 8 at a constant rate, no clipping; everything decays.
# (Its trainer stops at 1M because it counts the steps of both optimizers.)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=500_000, val_interval=25_000)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    constructor='AdversarialConstructor',
    generator=dict(optimizer=dict(type='AdamW', lr=1e-5, betas=(0.9, 0.999), weight_decay=1e-4)),
    discriminator=dict(optimizer=dict(type='AdamW', lr=1e-5, betas=(0.9, 0.999), weight_decay=1e-4)),
)
auto_scale_lr = dict(base_batch_size=384)
