"""The model that is shipped: RGB + height, bottleneck tokens, generated scenes."""

_base_ = ["./timf.py"]

model = dict(backbone=dict(fusion=dict(adaptive=False)))
package = dict(
    name="scenes",
    description="RGB + height segmentation into the GAMUS classes; two MiT-B0 streams, trained on generated scenes only",
)
