"""FarSLIP's second stage, from the weights of the first: views against captions, crops of objects against their categories."""

_base_ = ["./stage1.py"]

model = dict(weights=dict(_delete_=True, contrast=1.0, region=1.0))
train_dataloader = dict(dataset=dict(crops="objects", count=4))
package = dict(
    name="align", description="CLIP of RGB and words, FarSLIP's two stages; trained on generated scenes only"
)
