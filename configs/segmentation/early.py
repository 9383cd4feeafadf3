"""One encoder whose first layer takes RGB and height together."""

_base_ = ["./_base_/segmentor.py"]

model = dict(backbone=dict(type="SingleStream", encoder={{_base_.encoder}}, use=("rgb", "height")))
package = dict(name="early", description="RGB + height segmentation; one encoder for both")
