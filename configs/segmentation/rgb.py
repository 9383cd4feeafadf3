"""The baseline without height."""

_base_ = ["./_base_/segmentor.py"]

model = dict(backbone=dict(type="SingleStream", encoder={{_base_.encoder}}, use=("rgb",)))
package = dict(name="rgb", description="segmentation of RGB without height")
