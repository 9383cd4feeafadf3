"""The shipped network without RGB, for comparison: same parameters, same training."""

_base_ = ["./timf_mit-b0_scenes.py"]

model = dict(data_preprocessor=dict(use=("height",)))
package = dict(
    name="scenes-height",
    description="Comparison: the network of the model `scenes`, trained and run without RGB",
)
