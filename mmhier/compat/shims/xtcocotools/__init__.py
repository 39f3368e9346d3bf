"""``xtcocotools``, the COCO API that MMPose imports, on top of faster-coco-eval.

xtcocotools 1.14.3 has wheels up to Python 3.11 only, built for numpy 1, and does not build from source on
current tools. This package has the part of it that MMPose uses: ``coco.COCO``, ``cocoeval.COCOeval`` with
the keypoint types ``keypoints``, ``keypoints_crowd``, ``keypoints_body``, ``..._foot``, ``..._face``,
``..._lefthand``, ``..._righthand`` and ``..._wholebody``, and ``mask``. Unnecessary where xtcocotools works.
"""
