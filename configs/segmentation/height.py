"""The baseline without RGB."""

_base_ = ["./_base_/segmentor.py"]

model = dict(backbone=dict(type="SingleStream", encoder={{_base_.encoder}}, use=("height",)))
package = dict(name="height", description="segmentation of height without RGB")
