"""Height as a geometry prior of attention over one encoder."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height=dict(type="HeightPyramid"),
        fusion=dict(type="GeometryAttention"),
    )
)
package = dict(name="dformer", description="RGB + height segmentation; an encoder with height as a geometry prior")
