# RenBody (DNA-Rendering), high resolution; every fifth person.
renbody_highres = dict(
    type='HumanDataset',
    name='renbody_highres',
    ann_file=[
        'preprocessed_datasets/renbody_train_highrescam_230517_399_0_fix_betas.npz',
        'preprocessed_datasets/renbody_train_highrescam_230517_399_1_fix_betas.npz',
    ],
    img_dir='RenBody',
    interval=5,
)
