# Batch norm over all processes, as SMPLer-X's; without a box in a batch the net of boxes has no gradient.
_base_ = './default_runtime.py'

default_hooks = dict(
    checkpoint=dict(interval=1, save_best='whole_body/PVE', rule='less'),
    visualization=dict(_delete_=True, type='MeshVisualizationHook', enable=False),
)
sync_bn = 'torch'
find_unused_parameters = True
