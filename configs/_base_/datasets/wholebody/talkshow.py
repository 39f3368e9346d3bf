# TalkSHOW; every tenth person.
talkshow = dict(
    type='HumanDataset',
    name='talkshow',
    ann_file=[
        'preprocessed_datasets/talkshow_smplx_chemistry.npz',
        'preprocessed_datasets/talkshow_smplx_conan.npz',
        'preprocessed_datasets/talkshow_smplx_oliver.npz',
        'preprocessed_datasets/talkshow_smplx_seth.npz',
    ],
    img_dir='Talkshow',
    interval=10,
)
