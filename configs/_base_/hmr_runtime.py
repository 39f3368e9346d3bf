# Counts iterations; a run that is resumed goes on with the next people of its mix.
_base_ = './default_runtime.py'

default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=5_000, save_best='mesh/PCK@0.05'),
    visualization=dict(_delete_=True, type='MeshVisualizationHook', enable=False),
)
custom_hooks = [dict(type='SyncBuffersHook'), dict(type='ResumeDrawsHook')]
log_processor = dict(by_epoch=False)
