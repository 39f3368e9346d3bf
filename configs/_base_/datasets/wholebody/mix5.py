# SMPLer-X's mix of 5 data sets: 150,000 draws of each make an epoch of 750,000.
_base_ = [
    './pipelines.py',
    './mscoco.py',
    './agora.py',
    './bedlam.py',
    './spec.py',
    './gta_human2.py',
]

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DrawSampler', infinite=False),
    dataset=dict(
        type='MixedDataset',
        weights='balanced',
        epoch_size=750_000,
        common=dict(data_root=_base_.data_root, pipeline=_base_.train_pipeline, move_boxes=True),
        datasets=[
            _base_.mscoco,
            _base_.agora,
            _base_.bedlam,
            _base_.spec,
            _base_.gta_human2,
        ],
    ),
)
