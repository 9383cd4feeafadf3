"""ISPRS Vaihingen (see `pipelines/datasets/isprs.py`); for Potsdam, set `options.area`. Its models have six classes."""

_base_ = ["./scenes.py"]

classes = ("impervious surface", "building", "low vegetation", "tree", "car", "clutter")
palette = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))
num_classes = 6

train_dataloader = dict(
    dataset=dict(
        kind="isprs",
        split="train",
        options=dict(
            area="vaihingen",
            # assumed: the benchmark does not say. It makes mean heights of 3.1 m (Vaihingen) and 4.6 m (Potsdam)
            metres_per_level=0.1,
        ),
        classes=classes,
        palette=palette,
    )
)
