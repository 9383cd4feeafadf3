"""The model that is shipped: RGB + height, `timf` fusion, generated scenes."""

_base_ = ["./_base_/timf_mit-b0.py", "./_base_/scenes.py", "./_base_/schedule.py"]

package = dict(
    name="scenes",
    description="RGB + height segmentation into the GAMUS classes; two MiT-B0 streams, trained on generated scenes only",
    gsd=(0.1, 0.5),
    window=512,
    stride=384,
    patch=4,
)
