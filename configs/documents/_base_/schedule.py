"""From random weights, as the alignment towers are trained, but for length, decay, and the rate of n-grams' vectors."""

_base_ = ["../../alignment/_base_/schedule.py"]

steps = 6000
warm_up = 300

train_cfg = dict(type="IterBasedTrainLoop", max_iters=steps, val_interval=steps + 1)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            "logit_scale": dict(decay_mult=0.0),
            "logit_bias": dict(decay_mult=0.0),
            "space.grams": dict(decay_mult=0.0, lr_mult=3.0),  # each is seen in few batches
        },
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=warm_up, end=steps),
]
