# Synthetic people in COCO's format: mmhier synth data/synth --train 20000 --val 500 --seed 0
# Crops around the true boxes, augmented as for COCO.
_base_ = './coco_256x192.py'

data_root = 'data/synth/'
val_ann_file = 'annotations/person_keypoints_val.json'

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='images/train/'),
    ),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root, ann_file=val_ann_file, data_prefix=dict(img='images/val/'), bbox_file=None
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + val_ann_file)
test_evaluator = val_evaluator
