"""The model that is shipped: RGB + height, two streams whose maps are added, generated scenes.

Chosen by the comparison in `docs/fusion-benchmark.md`, on held-out scenes alone: no strategy was better than `feature` beyond the
spread over seeds, and none of those level with it costs less. A crop in eight has no height, so that the model does without.
"""

_base_ = ["./feature.py"]

train_dataloader = dict(dataset=dict(drop_height=0.125))
package = dict(
    name="scenes",
    description="RGB + height segmentation into the GAMUS classes; two MiT-B0 streams, trained on generated scenes only",
)
