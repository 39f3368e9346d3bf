# FIT3D; the annotation names the folder of images; every tenth person.
fit3d = dict(
    type='HumanDataset',
    name='fit3d',
    ann_file=[
        'preprocessed_datasets/FIT3D_train_230511_1504_0.npz',
        'preprocessed_datasets/FIT3D_train_230511_1504_1.npz',
        'preprocessed_datasets/FIT3D_train_230511_1504_2.npz',
        'preprocessed_datasets/FIT3D_train_230511_1504_3.npz',
        'preprocessed_datasets/FIT3D_train_230511_1504_4.npz',
        'preprocessed_datasets/FIT3D_train_230511_1504_5.npz',
    ],
    img_dir='',
    interval=10,
    image_hw=(900, 900),
)
