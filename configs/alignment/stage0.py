"""What stands in for CLIP's weights, from which FarSLIP starts: from random ones, every object in view is named.

Captions of whole views alone teach a network that starts from nothing too slowly (after 260 steps it told captions apart
hardly better than by guessing). Here the tokens of up to 12 objects of each view are held against what is true of them, which
costs no crop; and views have half the side of the tower's window (its table of positions is resized), so that a step sees more
of them, of fewer objects each: an eighth of the time to the same loss.
"""

_base_ = ["./stage1.py"]

model = dict(weights=dict(_delete_=True, contrast=0.5, roi=1.0))
train_dataloader = dict(batch_size=160, dataset=dict(side=64, pixels=(48, 144), crops="objects", count=12, drawn=0))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
package = dict(
    name="align-stage0", description="CLIP of RGB and words, every object named; trained on generated scenes only"
)
