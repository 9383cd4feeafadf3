"""Depth-aware self-attention over one encoder; height has patch embeddings alone."""

_base_ = ["./_base_/segmentor.py"]

model = dict(
    backbone=dict(
        type="TwoStreams",
        rgb={{_base_.encoder}},
        height=dict(type="PatchPyramid", widths={{_base_.widths}}),
        fusion=dict(type="DepthAwareAttention"),
    )
)
package = dict(name="edft", description="RGB + height segmentation; an encoder with depth-aware attention")
