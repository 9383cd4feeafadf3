"""FLAIR #1 with its rare classes merged (see `pipelines/datasets/flair.py`). Its models have thirteen classes."""

_base_ = ["./scenes.py"]

classes = (
    *("building", "pervious surface", "impervious surface", "bare soil", "water", "coniferous", "deciduous"),
    *("brushwood", "vineyard", "herbaceous vegetation", "agricultural land", "plowed land", "other"),
)
palette = (
    (226, 62, 50),
    (206, 184, 146),
    (96, 98, 108),
    (160, 110, 60),
    (44, 112, 220),
    (12, 70, 40),
    (22, 130, 48),
    (120, 150, 40),
    (130, 40, 130),
    (150, 214, 96),
    (240, 226, 90),
    (196, 160, 90),
    (176, 60, 190),
)
num_classes = 13

train_dataloader = dict(
    dataset=dict(
        kind="flair",
        split="train",
        options=dict(merge_other=True, metres_per_level=0.2),
        classes=classes,
        palette=palette,
    )
)
