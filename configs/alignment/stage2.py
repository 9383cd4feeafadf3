"""FarSLIP's second stage, from the weights of the first: views against captions, crops of objects against what is true of them.

The objects of a view are named by its tokens too (`roi`), as in stage 0: FarSLIP starts from a CLIP whose tokens know words, and
ours would forget them.
"""

_base_ = ["./stage1.py"]

model = dict(weights=dict(_delete_=True, contrast=1.0, region=1.0, roi=1.0))
train_dataloader = dict(batch_size=48, dataset=dict(crops="objects", count=16, drawn=1, even=1.0, jitter=0.2))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
package = dict(
    name="align-stage2", description="CLIP of RGB and words, FarSLIP's two stages; trained on generated scenes only"
)
