# HumanSC3D; the annotation names the folder of images.
humansc3d = dict(
    type='HumanDataset',
    name='humansc3d',
    ann_file=[
        'preprocessed_datasets/HumanSC3D_train_230511_2752_0.npz',
        'preprocessed_datasets/HumanSC3D_train_230511_2752_1.npz',
        'preprocessed_datasets/HumanSC3D_train_230511_2752_2.npz',
    ],
    img_dir='',
    image_hw=(900, 900),
)
