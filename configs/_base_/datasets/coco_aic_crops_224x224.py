# People of COCO and of AI Challenger as 224 x 224 crops, without their labels: for pre-training.
_base_ = './coco_crops_224x224.py'

aic_root = 'data/aic/'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=[
            _base_.train_dataloader.dataset,
            dict(
                type='AicDataset',
                data_root=aic_root,
                data_mode='topdown',
                ann_file='annotations/aic_train.json',
                data_prefix=dict(img='ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902/'),
                pipeline=_base_.train_pipeline,
            ),
        ],
    )
)
