# RenBody (DNA-Rendering).
renbody = dict(
    type='HumanDataset',
    name='renbody',
    ann_file=[
        'preprocessed_datasets/renbody_train_230525_399_0.npz',
        'preprocessed_datasets/renbody_train_230525_399_1.npz',
        'preprocessed_datasets/renbody_train_230525_399_2.npz',
        'preprocessed_datasets/renbody_train_230525_399_3.npz',
        'preprocessed_datasets/renbody_train_230525_399_4.npz',
        'preprocessed_datasets/renbody_train_230525_399_5.npz',
        'preprocessed_datasets/renbody_train_230525_399_6.npz',
        'preprocessed_datasets/renbody_train_230525_399_7.npz',
        'preprocessed_datasets/renbody_train_230525_399_8.npz',
        'preprocessed_datasets/renbody_train_230525_399_9.npz',
    ],
    img_dir='RenBody',
)
