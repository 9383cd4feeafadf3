"""Two independent streams, their maps added for the head. `fusion.mode="concat"` mixes them by a convolution instead."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height={{_base_.encoder}},
        fusion=dict(type="FeatureFusion", mode="sum"),
    )
)
package = dict(name="feature", description="RGB + height segmentation; feature fusion of two encoders")
