"""Two streams joined by adaptive bottleneck tokens."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height={{_base_.encoder}},
        fusion=dict(type="BottleneckFusion", tokens=8, width=64, adaptive=True),
    )
)
package = dict(name="timf", description="RGB + height segmentation; two encoders joined by bottleneck tokens")
