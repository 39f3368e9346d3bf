# Encoder at 1/16 -> ViTPose's simple decoder: ReLU, bilinear x 4 (in that order), 3 x 3 convolution.
_base_ = './pose_classic.py'

model = dict(
    neck=dict(_delete_=True, type='FeatureMapProcessor', scale_factor=4.0, apply_relu=True),
    head=dict(
        deconv_out_channels=(),
        deconv_kernel_sizes=(),
        final_layer=dict(kernel_size=3, padding=1),
    ),
)
