# The benchmarks of SMPLer-X by its protocol: AGORA (validation), EgoBody (worn cameras), UBody (one of a
# hundred people, what lies inside of the image), 3DPW and EHF, whose primary errors make MPE; ARCTIC and
# RenBody (DNA-Rendering) beside them. Boxes are the true ones.
benchmark_root = 'data/smplerx/'
eval_pipeline = [
    dict(type='LoadMeshImage'),
    dict(type='MeshBox', aspect_wh=(384, 512)),
    dict(type='MeshAffine'),
    dict(type='PackWholeBodyInputs'),
]
official = 'preprocessed_datasets/'
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='ConcatMeshDataset',
        common=dict(
            data_root=benchmark_root,
            pipeline=eval_pipeline,
            move_boxes=True,
            test_mode=True,
            leave_out=True,
        ),
        datasets=[
            dict(type='WholeBodySet', name='agora_val', kind='agora', folder='AGORA/data', split='test'),
            dict(
                type='HumanDataset',
                name='egobody_test',
                ann_file=official + 'egobody_egocentric_test_230425_043_fix_betas.npz',
                img_dir='EgoBody',
                image_hw=(1080, 1920),
            ),
            dict(
                type='WholeBodySet',
                name='ubody_test',
                kind='ubody',
                folder='UBody',
                split='test',
                interval=100,
                offset=99,
            ),
            dict(type='WholeBodySet', name='pw3d_test', kind='pw3d', folder='PW3D/data', split='test'),
            dict(type='WholeBodySet', name='ehf', kind='ehf', folder='EHF/data', split='test'),
            dict(
                type='HumanDataset',
                name='arctic_val',
                ann_file=official + 'p1_val.npz',
                img_dir='ARCTIC',
            ),
            dict(
                type='HumanDataset',
                name='renbody_test',
                ann_file=official + 'renbody_test_highrescam_230517_78_0_fix_betas.npz',
                img_dir='RenBody',
                interval=10,
            ),
        ],
    ),
)
test_evaluator = dict(
    type='WholeBodyMetric',
    body_model='smplx_neutral',
    datasets=dict(
        agora_val=dict(measures=['mesh', 'agora'], gender='as annotated'),
        egobody_test=dict(),
        ubody_test=dict(inside=True),
        pw3d_test=dict(measures=['skeleton'], primary='MPJPE', gender='male and female, as annotated'),
        ehf=dict(gender='registrations of scans'),
        arctic_val=dict(primary=None),
        renbody_test=dict(primary=None),
    ),
)
