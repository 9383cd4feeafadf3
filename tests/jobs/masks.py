"""The shipped raster job without embeddings: most tests are about masks and regions, and an encoder costs each a second."""

_base_ = ["../../configs/jobs/raster.py"]

alignment = None
