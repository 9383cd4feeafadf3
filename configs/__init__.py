"""MMEngine configs: `segmentation/` for training, `jobs/` for `gridscribe run`."""
