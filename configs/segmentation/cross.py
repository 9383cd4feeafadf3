"""Two streams that read each other with swapped queries."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height={{_base_.encoder}},
        fusion=dict(type="CrossFusion"),
    )
)
package = dict(name="cross", description="RGB + height segmentation; cross-feature fusion of two encoders")
