"""A folder of generated scenes as labelled images: `<id>_rgb.tif`, `<id>_ndsm.tif`, `<id>_labels.tif`."""

from __future__ import annotations

from pathlib import Path

from gridscribe.pipelines.datasets import IGNORE, LabelledImage, Scene, find_labelled

__all__ = ["IGNORE", "LabelledImage", "Scene", "find_scenes", "read_scene"]


def find_scenes(folder: Path) -> list[LabelledImage]:
    """All scenes of a folder, by id. Raises UnpairedError where a file of a scene is absent, InputError where none is found."""
    return find_labelled("scenes", folder)


def read_scene(image: LabelledImage) -> Scene:
    """All pixels of a scene; height on another grid is warped onto the RGB's (bilinear)."""
    return image.read()
