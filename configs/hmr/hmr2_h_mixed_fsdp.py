# python tools/train.py configs/hmr/hmr2_h_mixed_fsdp.py          (48 per GPU x 8)
# As hmr2_h_mixed, sharded: each process keeps its rows of every tensor, and blocks are computed again in the
# backward pass. Start it with tools/dist_train.sh; one process shards nothing. Not run by us yet.
_base_ = './hmr2_h_mixed.py'

model_wrapper_cfg = dict(type='FullyShardedModel', blocks='Block')
model = dict(backbone=dict(with_cp=True))
