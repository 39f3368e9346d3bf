# People of COCO and of AI Challenger as 224 x 224 crops, without their labels: for pre-training.
_base_ = './coco_crops_224x224.py'

aic_root = 'data/aic/'

# The 12 keypoints that both have; only to bring the data sets together.
aic_to_coco = [
    (0, 6), (1, 8), (2, 10), (3, 5), (4, 7), (5, 9), (6, 12), (7, 14), (8, 16), (9, 11), (10, 13), (11, 15),
]  # fmt: skip
coco = _base_.train_dataloader.dataset
coco['pipeline'] = []
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        pipeline=_base_.train_pipeline,
        datasets=[
            coco,
            dict(
                type='AicDataset',
                data_root=aic_root,
                data_mode='topdown',
                ann_file='annotations/aic_train.json',
                data_prefix=dict(img='ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902/'),
                pipeline=[dict(type='KeypointConverter', num_keypoints=17, mapping=aic_to_coco)],
            ),
        ],
    )
)
