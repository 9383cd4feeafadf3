"""From random weights: AdamW, a warm-up, a cosine to nothing."""

steps = 6000
warm_up = 300

train_cfg = dict(type="IterBasedTrainLoop", max_iters=steps, val_interval=steps + 1)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    precision="auto",
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
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
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=250, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
default_scope = "mmengine"
log_processor = dict(by_epoch=False, window_size=20)
log_level = "INFO"
randomness = dict(seed=0)
