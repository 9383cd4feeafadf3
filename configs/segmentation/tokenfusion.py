"""Two streams of shared weights that exchange tokens."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height={{_base_.encoder}},
        fusion=dict(type="TokenExchange"),
        share=True,
    )
)
package = dict(
    name="tokenfusion", description="RGB + height segmentation; two encoders of shared weights that exchange tokens"
)
