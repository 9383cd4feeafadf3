"""From random weights in a few thousand steps: AdamW, a short warm-up, then polynomial decay to nothing."""

steps = 2000
warm_up = 100

train_cfg = dict(type="IterBasedTrainLoop", max_iters=steps, val_interval=steps + 1)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    precision="auto",  # bfloat16 where the machine has it; "float32" to have the same on all
    # fused: one pass over the weights; on a CPU the step of MiT-B0 at 8 x 128 px gets 7 % shorter
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=1.0),
    # bypass_duplicate: streams may share weights, which then are in one group alone
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=warm_up, end=steps),
]
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=200, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
default_scope = "mmseg"
log_processor = dict(by_epoch=False, window_size=20)
log_level = "INFO"
randomness = dict(seed=0)
