# Pre-training: nothing is evaluated, the last checkpoint is kept.
_base_ = './default_runtime.py'

default_hooks = dict(
    checkpoint=dict(_delete_=True, type='CheckpointHook', interval=20, max_keep_ckpts=1),
)
