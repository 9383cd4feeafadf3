"""Generated scenes as training data. `data_root` and `cache` are set by the training command."""

_base_ = ["./classes.py"]

custom_imports = dict(imports=["gridscribe.models.segmentor", "gridscribe.pipelines.crops"])

train_dataloader = dict(
    batch_size=8,
    num_workers=0,  # 5 ms a crop; on two cores a worker process costs the training threads more than it saves
    sampler=dict(type="InfiniteSampler", shuffle=False),  # the data set is random by itself, and resumable so
    collate_fn=dict(type="pseudo_collate"),
    dataset=dict(
        type="LabelledCrops",
        kind="scenes",
        data_root="scenes",
        cache="scenes-cache",
        crop=256,
        classes={{_base_.classes}},
        palette={{_base_.palette}},
    ),
)
