# CHI3D; the annotation names the folder of images.
chi3d = dict(
    type='HumanDataset',
    name='chi3d',
    ann_file=[
        'preprocessed_datasets/CHI3D_train_230511_1492_0.npz',
        'preprocessed_datasets/CHI3D_train_230511_1492_1.npz',
    ],
    img_dir='',
    image_hw=(900, 900),
)
