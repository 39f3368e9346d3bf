# PoseTrack, bodies of EFT.
posetrack = dict(
    type='HumanDataset',
    name='posetrack',
    ann_file='preprocessed_datasets/eft_posetrack.npz',
    img_dir='PoseTrack/data/images',
)
