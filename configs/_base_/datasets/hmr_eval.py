# The benchmarks of HMR2.0 by its protocol: npz files of its hmr2_evaluation_data.tar.gz, images from the
# original data sets. 3DPW and Human3.6M (P2): 14 joints of SMPL_to_J19, relative to its pelvis, or aligned by
# a similarity. LSP-Extended, COCO, PoseTrack: joints with a confidence above 0.5, distances in parts of the
# longer side of the annotated box. Boxes are the true ones, enlarged to 3:4 as HMR2.0 does when it evaluates.
# tools/prepare/benchmark_to_npz.py makes the files but Human3.6M's from the original data sets.
eval_root = 'data/hmr2_evaluation_data/'

eval_pipeline = [
    dict(type='LoadMeshImage'),
    dict(type='MeshBox', aspect_wh=(192, 256)),
    dict(type='MeshAffine'),
    dict(type='PackMeshInputs'),
]
eval_files = dict(
    test_3dpw=('3dpw_test.npz', 'data/3DPW/'),
    h36m_val_p2=('h36m_val_p2.npz', 'data/h36m/images/'),
    lsp_extended=('hr-lspet_train.npz', 'data/hr-lspet/'),
    coco_val=('coco_val.npz', 'data/coco/'),
    posetrack_val=('posetrack_2018_val.npz', 'data/posetrack/posetrack2018/posetrack_data/'),
)
benchmarks = [
    dict(
        type='MeshNpzDataset',
        name=name,
        ann_file=eval_root + files[0],
        img_dir=files[1],
        test_mode=True,
        pipeline=eval_pipeline,
    )
    for name, files in eval_files.items()
]
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='ConcatMeshDataset', datasets=benchmarks),
)
test_evaluator = dict(
    type='MeshMetric',
    body_model='neutral',
    datasets=dict(
        test_3dpw=dict(measures=['joints'], gender='male and female, as annotated'),
        h36m_val_p2=dict(measures=['joints'], gender='neutral, fitted by MoSh'),
        lsp_extended=dict(measures=['image'], joints=None, gender='none'),
        coco_val=dict(measures=['image'], joints=None, gender='none'),
        posetrack_val=dict(measures=['image'], joints=None, gender='none'),
    ),
)
# While training: COCO only, as HMR2.0.
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=benchmarks[3],
)
val_evaluator = dict(
    type='MeshMetric',
    body_model='neutral',
    datasets=dict(coco_val=dict(measures=['image'], joints=None, gender='none')),
)
