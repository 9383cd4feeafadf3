"""CMX's fusion with CMNeXt's light branch for height."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height=dict(type="LightEncoder", widths={{_base_.widths}}),
        fusion=dict(type="CMXFusion"),
    )
)
package = dict(
    name="cmnext", description="RGB + height segmentation; CMX fusion of an encoder and a light height branch"
)
