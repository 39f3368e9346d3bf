# Every data set for docs/many_datasets.md, 256 (h) x 192 (w) crops; others pick some. Folders are those of
# MMPose's documentation; APT-36K's files are used as ViTPose+ names them. People are cropped by detected
# boxes in COCO (56.4 AP), COCO-WholeBody and CrowdPose, and by annotated boxes elsewhere, as in ViTPose's
# tables.
codec = dict(type='UDPHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)

train_pipeline = [
    dict(type='LoadCheckedImage', on_error='skip'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='PackPoseInputs'),
]

_coco = dict(type='CheckedCocoDataset', data_root='data/coco/', data_mode='topdown')
_aic = dict(type='AicDataset', data_root='data/aic/', data_mode='topdown')
_mpii = dict(type='MpiiDataset', data_root='data/mpii/', data_mode='topdown', data_prefix=dict(img='images/'))
_crowdpose = dict(
    type='CrowdPoseDataset', data_root='data/crowdpose/', data_mode='topdown', data_prefix=dict(img='images/')
)
_ap10k = dict(
    type='AP10KDataset', data_root='data/ap10k/', data_mode='topdown', data_prefix=dict(img='data/')
)
_apt36k = dict(type='AP10KDataset', data_root='data/apt36k/', data_mode='topdown', data_prefix=dict(img=''))
_wholebody = dict(type='CocoWholeBodyDataset', data_root='data/coco/', data_mode='topdown')
_ochuman = dict(
    type='OCHumanDataset', data_root='data/ochuman/', data_mode='topdown', data_prefix=dict(img='images/')
)

train_sets = dict(
    coco=dict(
        **_coco, ann_file='annotations/person_keypoints_train2017.json', data_prefix=dict(img='train2017/')
    ),
    aic=dict(
        **_aic,
        ann_file='annotations/aic_train.json',
        data_prefix=dict(img='ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902/'),
    ),
    mpii=dict(**_mpii, ann_file='annotations/mpii_train.json'),
    crowdpose=dict(**_crowdpose, ann_file='annotations/mmpose_crowdpose_trainval.json'),
    ap10k=dict(**_ap10k, ann_file='annotations/ap10k-train-split1.json'),
    apt36k=dict(**_apt36k, ann_file='annotations/train_annotations_1.json'),
    wholebody=dict(
        **_wholebody,
        ann_file='annotations/coco_wholebody_train_v1.0.json',
        data_prefix=dict(img='train2017/'),
    ),
)
for _one in train_sets.values():
    _one['pipeline'] = train_pipeline
# Without half bodies, as ViTPose trains it.
train_sets['mpii']['pipeline'] = [step for step in train_pipeline if step['type'] != 'RandomHalfBody']

_boxes = 'data/coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
val_sets = dict(
    coco=dict(
        **_coco,
        ann_file='annotations/person_keypoints_val2017.json',
        bbox_file=_boxes,
        data_prefix=dict(img='val2017/'),
    ),
    aic=dict(
        **_aic,
        ann_file='annotations/aic_val.json',
        data_prefix=dict(
            img='ai_challenger_keypoint_validation_20170911/keypoint_validation_images_20170911/'
        ),
    ),
    mpii=dict(
        **_mpii, ann_file='annotations/mpii_val.json', headbox_file='data/mpii/annotations/mpii_gt_val.mat'
    ),
    crowdpose=dict(
        **_crowdpose,
        ann_file='annotations/mmpose_crowdpose_test.json',
        bbox_file='data/crowdpose/annotations/det_for_crowd_test_0.1_0.5.json',
    ),
    ap10k=dict(**_ap10k, ann_file='annotations/ap10k-val-split1.json'),
    ap10k_test=dict(**_ap10k, ann_file='annotations/ap10k-test-split1.json'),
    apt36k=dict(**_apt36k, ann_file='annotations/val_annotations_1.json'),
    wholebody=dict(
        **_wholebody,
        ann_file='annotations/coco_wholebody_val_v1.0.json',
        bbox_file=_boxes,
        data_prefix=dict(img='val2017/'),
    ),
    ochuman=dict(**_ochuman, ann_file='annotations/ochuman_coco_format_test_range_0.00_1.00.json'),
)
for _one in val_sets.values():
    _one |= dict(test_mode=True, pipeline=val_pipeline)

metrics = dict(
    coco=dict(type='CocoPhiMetric'),
    aic=dict(type='CocoMetric', use_area=False),
    mpii=dict(type='MpiiPCKAccuracy'),
    crowdpose=dict(type='CocoMetric', use_area=False, iou_type='keypoints_crowd'),
    ap10k=dict(type='CocoMetric'),
    ap10k_test=dict(type='CocoMetric'),
    apt36k=dict(type='CocoMetric'),
    wholebody=dict(type='CocoWholeBodyMetric'),
    ochuman=dict(type='CocoMetric'),
)
for _name, _metric in metrics.items():
    if _name != 'mpii':
        _metric['ann_file'] = val_sets[_name]['data_root'] + val_sets[_name]['ann_file']

keypoints = dict(
    coco=17, aic=14, mpii=16, crowdpose=14, ap10k=17, ap10k_test=17, apt36k=17, wholebody=133, ochuman=17
)

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ManyDatasets', datasets=dict()),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='ManyDatasets', datasets=dict()),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ManyDatasetsMetric', judges=dict())
test_evaluator = val_evaluator

del _coco, _aic, _mpii, _crowdpose, _ap10k, _apt36k, _wholebody, _ochuman, _boxes, _one, _name, _metric
