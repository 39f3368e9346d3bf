# While training: EHF only.
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='WholeBodySet',
        name='ehf',
        kind='ehf',
        data_root='data/smplerx/',
        folder='EHF/data',
        split='test',
        move_boxes=True,
        test_mode=True,
        leave_out=True,
        pipeline=[
            dict(type='LoadMeshImage'),
            dict(type='MeshBox', aspect_wh=(384, 512)),
            dict(type='MeshAffine'),
            dict(type='PackWholeBodyInputs'),
        ],
    ),
)
val_evaluator = dict(
    type='WholeBodyMetric',
    body_model='smplx_neutral',
    datasets=dict(ehf=dict(gender='registrations of scans')),
)
