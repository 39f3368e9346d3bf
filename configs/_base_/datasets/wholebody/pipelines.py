# Where the data sets of SMPLer-X lie, and its augmentation: the person's box enlarged to 3 : 4 and scaled by
# up to a quarter, turned by up to 60 degrees in three of five pictures, mirrored in every second one, colours
# by up to a fifth; shapes with a component beyond 3 are not used.
data_root = 'data/smplerx/'
train_pipeline = [
    dict(type='LoadMeshImage'),
    dict(type='SuppressBodyParameters', max_beta=3.0, both_or_neither=False, mean_shape_if_unknown=False),
    dict(type='RandomMeshBox', aspect_wh=(384, 512), shift=0.0, scale=0.25, extreme_crop_chance=0.0),
    dict(type='MeshAffine'),
    dict(type='RandomChannelScale', scale=0.2),
    dict(type='PackMeshInputs'),
]
