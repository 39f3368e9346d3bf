# Data sets that are trained together and evaluated in one run.
_base_ = './many_256x192.py'

data_sets = ['coco', 'aic', 'mpii', 'crowdpose']
train_dataloader = dict(dataset=dict(datasets={name: _base_.train_sets[name] for name in data_sets}))
val_dataloader = dict(dataset=dict(datasets={name: _base_.val_sets[name] for name in data_sets}))
test_dataloader = val_dataloader
val_evaluator = dict(judges={name: _base_.metrics[name] for name in data_sets})
test_evaluator = val_evaluator
