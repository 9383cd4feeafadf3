"""What stands in for CLIP's weights, from which FarSLIP starts: from random ones, every object in view is named.

Captions of whole views alone teach a network that starts from nothing too slowly (after 260 steps it told captions apart
hardly better than by guessing). Here the tokens of up to 32 objects of each view are held against what is true of them, which
costs no crop.
"""

_base_ = ["./stage1.py"]

model = dict(weights=dict(_delete_=True, contrast=0.5, roi=1.0))
train_dataloader = dict(batch_size=48, dataset=dict(crops="objects", count=32, drawn=0))
package = dict(
    name="align-stage0", description="CLIP of RGB and words, every object named; trained on generated scenes only"
)
