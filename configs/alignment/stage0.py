"""What stands in for CLIP's weights, from which FarSLIP starts, the second half: what names crops (`crops.py`) learns views.

Captions of whole views alone teach a network that starts from nothing too slowly (after 260 steps it told captions apart hardly
better than by guessing), and so does naming whatever is in view, which is trees more often than not. Here each view is about an
object of a category drawn evenly, whose crop is held against what is true of it, and so are the tokens of up to eight objects in
the view, one category after another. Views have half the side of the tower's window (its table of positions is resized): a step
sees four times as many.
"""

_base_ = ["./stage1.py"]

model = dict(weights=dict(_delete_=True, contrast=0.25, region=1.0, roi=1.0))
train_dataloader = dict(
    batch_size=96, dataset=dict(side=64, pixels=(48, 144), crops="objects", count=8, drawn=1, even=1.0, jitter=0.2)
)
optim_wrapper = dict(optimizer=dict(lr=7e-4), paramwise_cfg=dict(custom_keys=dict(logit_scale=dict(lr_mult=10.0))))
package = dict(
    name="align-stage0", description="CLIP of RGB and words, objects named; trained on generated scenes only"
)
