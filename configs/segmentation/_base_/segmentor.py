"""What all strategies share: the preprocessor, SegFormer's head, and the two encoders they choose from unless told otherwise.

A strategy adds the backbone. `gridscribe.pipelines.recipes.with_encoders` puts other encoders in the place of MiT-B0.
"""

_base_ = ["./scenes.py", "./schedule.py"]

encoder = dict(
    type="MiTEncoder", embed_dims=32, num_layers=(2, 2, 2, 2), num_heads=(1, 2, 5, 8), sr_ratios=(8, 4, 2, 1)
)
widths = (32, 64, 160, 256)
head = dict(
    type="LateralSegformerHead",
    in_channels=widths,
    in_index=(0, 1, 2, 3),
    channels=128,
    dropout_ratio=0.0,
    num_classes={{_base_.num_classes}},
    norm_cfg=dict(type="BN"),
    align_corners=False,
    loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
)
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
    decode_head=head,
    test_cfg=dict(mode="whole"),
)
package = dict(gsd=(0.1, 0.5), window=512, stride=384, patch=4)
