# How ViTPose's released weights are evaluated on all but COCO and MPII: targets and crops without UDP.
msra_codec = dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
msra_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=msra_codec['input_size']),
    dict(type='PackPoseInputs'),
]
