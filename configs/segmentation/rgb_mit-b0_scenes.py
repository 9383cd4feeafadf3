"""The shipped network without height, for comparison: same parameters, same training."""

_base_ = ["./timf_mit-b0_scenes.py"]

model = dict(data_preprocessor=dict(use=("rgb",)))
package = dict(
    name="scenes-rgb",
    description="Comparison: the network of the model `scenes`, trained and run without height",
)
