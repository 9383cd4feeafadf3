"""GAMUS (see `pipelines/datasets/gamus.py`). `data_root` and `cache` are set by the training command."""

_base_ = ["./scenes.py"]

train_dataloader = dict(dataset=dict(kind="gamus", split="train"))
