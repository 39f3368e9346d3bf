"""Data sets, ``transforms`` and ``synthetic`` people; COCO data sets are MMPose's own."""
