"""The same training with `early` fusion: one MiT-B0 whose stem takes RGB and height together."""

_base_ = ["./timf_mit-b0_scenes.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="EarlyFusionMiT",
        embed_dims=32,
        num_layers=(2, 2, 2, 2),
        num_heads=(1, 2, 5, 8),
        sr_ratios=(8, 4, 2, 1),
    )
)
package = dict(
    name="scenes-early",
    description="RGB + height segmentation into the GAMUS classes; one MiT-B0, trained on generated scenes only",
)
