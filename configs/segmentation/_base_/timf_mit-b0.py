"""Two MiT-B0 streams joined by bottleneck tokens, with SegFormer's head: 7.5 million parameters."""

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="RGBHPreprocessor",
        mean=(112.0, 112.0, 104.0),
        std=(52.0, 50.0, 49.0),
        height_mean=4.0,
        height_std=5.0,
        height_range=(-2.0, 60.0),
    ),
    backbone=dict(
        type="TwoStreamMiT",
        embed_dims=32,
        num_layers=(2, 2, 2, 2),
        num_heads=(1, 2, 5, 8),
        sr_ratios=(8, 4, 2, 1),
        fusion=dict(type="BottleneckFusion", tokens=8, width=64),
    ),
    decode_head=dict(
        type="LateralSegformerHead",
        in_channels=(32, 64, 160, 256),
        in_index=(0, 1, 2, 3),
        channels=128,
        dropout_ratio=0.0,
        num_classes=7,
        norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    test_cfg=dict(mode="whole"),
)
