"""Where a network that starts from nothing begins: crops of objects of evenly drawn categories, held against words.

No views: a crop of 64 px is 17 tokens, so a second on two cores sees a few hundred objects, rare ones as often as trees. What
names objects quickly is learnt first; that a token of a view is to say the same comes after (`stage0.py`).
"""

_base_ = ["./stage1.py"]

model = dict(weights=dict(_delete_=True, region=1.0))
train_dataloader = dict(
    batch_size=96,
    dataset=dict(side=64, pixels=(48, 144), crops="objects", count=1, even=1.0, jitter=0.2, whole=False),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(logit_scale=dict(lr_mult=10.0))))
package = dict(
    name="align-crops", description="CLIP of RGB and words, crops of objects alone; trained on generated scenes only"
)
