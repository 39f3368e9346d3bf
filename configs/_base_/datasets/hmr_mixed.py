# HMR2.0's training mix in the tars of 4D-Humans (its fetch_training_data.sh), with its weights, filters and
# augmentation.
data_root = 'data/hmr2_training_data/'
tar_root = data_root + 'dataset_tars/'

train_pipeline = [
    dict(type='LoadMeshImage'),
    dict(type='SuppressKeypoints', min_confidence=0.3),
    dict(
        type='SuppressBodyParameters',
        max_beta=3.0,
        pose_histogram=data_root + 'amass_poses_hist100_SMPL+H_G.npy',
    ),
    dict(type='RandomMeshBox'),
    dict(type='MeshAffine'),
    dict(type='RandomChannelScale', scale=0.2),
    dict(type='PackMeshInputs'),
]
shards = dict(
    h36m='h36m-train/{000000..000312}.tar',
    mpii='mpii-train/{000000..000009}.tar',
    coco='coco-train-2014-pruned/{000000..000017}.tar',
    coco_vitpose='coco-train-2014-vitpose-pruned/{000000..000044}.tar',
    mpi_inf_3dhp='mpi-inf-train-pruned/{000000..00006}.tar',
    ava='ava-train-midframes-1fps-vitpose/{000000..000092}.tar',
    aic='aic-train-vitpose/{000000..000104}.tar',
    insta='insta-train-vitpose-replicate/{000000..003657}.tar',
)
train_dataloader = dict(
    batch_size=48,
    num_workers=6,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DrawSampler'),
    dataset=dict(
        type='MixedDataset',
        weights=dict(
            h36m=0.1,
            mpii=0.1,
            coco=0.1,
            coco_vitpose=0.1,
            mpi_inf_3dhp=0.02,
            ava=0.19,
            aic=0.19,
            insta=0.2,
        ),
        datasets=[
            dict(
                type='MeshTarDataset',
                name=name,
                data_root=tar_root,
                shards=pattern,
                person_filter=dict(min_keypoints=5, max_fitting_error=31000.0),
                pipeline=train_pipeline,
            )
            for name, pattern in shards.items()
        ],
    ),
)
