"""Labelled data sets over ingest: GAMUS, ISPRS Vaihingen and Potsdam, FLAIR, generated scenes, a folder of one's own."""

from gridscribe.pipelines.datasets.cache import ANCHORS, CachedImage, cache_images
from gridscribe.pipelines.datasets.finding import KINDS, find_labelled
from gridscribe.pipelines.datasets.labelled import LabelledImage, LabelledReader, Scene, open_labelled
from gridscribe.pipelines.datasets.legends import IGNORE, Legend

__all__ = [
    "ANCHORS",
    "IGNORE",
    "KINDS",
    "CachedImage",
    "LabelledImage",
    "LabelledReader",
    "Legend",
    "Scene",
    "cache_images",
    "find_labelled",
    "open_labelled",
]
