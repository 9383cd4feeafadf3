"""Two streams that rectify each other, joined by linear cross-attention."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height={{_base_.encoder}},
        fusion=dict(type="CMXFusion"),
    )
)
package = dict(name="cmx", description="RGB + height segmentation; CMX fusion of two encoders")
