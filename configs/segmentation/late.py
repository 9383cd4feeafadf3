"""Two streams that never meet, a head for each, their logits averaged."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(type="TwoStreams", rgb={{_base_.encoder}}, height={{_base_.encoder}}),
    decode_head=dict(
        _delete_=True,
        type="LateFusionHead",
        heads=({{_base_.head}}, {{_base_.head}}),
        num_classes={{_base_.num_classes}},
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
)
package = dict(name="late", description="RGB + height segmentation; late fusion of two encoders and heads")
