"""A folder of one's own (see `pipelines/datasets/folder.py`): one `*` in each pattern, standing for the same in all.

A config that starts from this names the patterns, `classes` and `palette` of the data (the last two also in the data set).
"""

_base_ = ["./scenes.py"]

classes = ("background", "building")
palette = ((90, 90, 90), (226, 62, 50))
num_classes = 2

train_dataloader = dict(
    dataset=dict(
        kind="folder",
        options=dict(images="images/*.tif", heights="heights/*.tif", labels="labels/*.tif", coded="ids"),
        classes=classes,
        palette=palette,
    )
)
