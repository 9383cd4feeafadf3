"""After FarSLIP's two stages: spots beside and on objects, so that a square is named after what is in its middle.

Without it a model says "swimming pool" of any square that holds one, and so of the terrace around it, which is a region of the
mask like any other. Objects stay in the sample; views, crops and losses are those of the second stage.
"""

_base_ = ["./stage2.py"]

train_dataloader = dict(dataset=dict(spots=200, drawn=2, jitter=0.1))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
package = dict(
    name="align",
    description="CLIP of RGB and words, FarSLIP's two stages, then spots; trained on generated scenes only",
)
