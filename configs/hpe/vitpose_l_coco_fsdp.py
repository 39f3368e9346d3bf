# python tools/train.py configs/hpe/vitpose_l_coco_fsdp.py          (64 per GPU x 8)
# As vitpose_l_coco, sharded: each process keeps its rows of every tensor, and blocks are computed again in
# the backward pass. Start it with tools/dist_train.sh; one process shards nothing. Not run by us yet.
_base_ = './vitpose_l_coco.py'

model_wrapper_cfg = dict(type='FullyShardedModel', blocks='Block')
model = dict(backbone=dict(with_cp=True))
