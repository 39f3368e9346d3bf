_base_ = './default_runtime.py'

default_hooks = dict(
    checkpoint=dict(save_best='mesh/PA-MPJPE', rule='less'),
    visualization=dict(_delete_=True, type='MeshVisualizationHook', enable=False),
)
