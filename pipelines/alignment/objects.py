"""The objects of a folder of generated scenes, as a model is examined on them: crops, categories, captions, classes of masks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import InputError
from gridscribe.pipelines.alignment.annotated import AnnotatedImage
from gridscribe.pipelines.alignment.scene_objects import read_scenes
from gridscribe.pipelines.alignment.views import pixels_of
from gridscribe.pipelines.region_crops import crop_of
from gridscribe.values import Window

UNKNOWN = 255
"""Class of an object that covers no labelled pixel."""


@dataclass(frozen=True, slots=True)
class SceneObjects:
    """Objects in the order of scenes and of their files. All of the tuples are as long."""

    images: tuple[AnnotatedImage, ...]
    places: tuple[tuple[int, int], ...]
    """Of each object: its image, and its number there."""
    categories: tuple[str, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, most: int, seed: int) -> SceneObjects:
        """At most `most` objects of each caption, drawn evenly; the same for the same seed."""
        rng = np.random.default_rng(seed)
        of_caption: dict[tuple[str, str], list[int]] = {}
        for k, named in enumerate(zip(self.categories, self.captions, strict=True)):
            of_caption.setdefault(named, []).append(k)
        kept = sorted(
            int(k) for group in of_caption.values() for k in rng.choice(group, min(most, len(group)), replace=False)
        )
        return replace(
            self,
            places=tuple(self.places[k] for k in kept),
            categories=tuple(self.categories[k] for k in kept),
            captions=tuple(self.captions[k] for k in kept),
        )

    def crops(self, side: int) -> Iterator[NDArray[np.uint8]]:
        """uint8 [3, side, side] of each object (`crop_of`); one image is held at a time."""
        for number, group in groupby(self.places, key=lambda place: place[0]):
            image = self.images[number]
            pixels = _read(image.path, [1, 2, 3])
            for _, region in group:
                yield crop_of(pixels, pixels_of(image.regions[region], pixels.shape[1:]), side)

    def mask_classes(self) -> NDArray[np.uint8]:
        """Of each object: the class that most pixels inside its outline are labelled with; what a faultless mask would say."""
        found = []
        for number, group in groupby(self.places, key=lambda place: place[0]):
            image = self.images[number]
            labels = _read(image.path.with_name(image.path.name.replace("_rgb.tif", "_labels.tif")), [1])[0]
            outlines = outlines_of(image.path)
            for _, region in group:
                found.append(_class_inside(labels, outlines[region], pixels_of(image.regions[region], labels.shape)))
        return np.array(found, np.uint8)


def read_objects(folder: Path) -> SceneObjects:
    """Every object of every scene of `folder`. Raises InputError as `read_scenes` does."""
    images = tuple(read_scenes(folder))
    places = [(k, number) for k, image in enumerate(images) for number in range(len(image.regions))]
    regions = [images[k].regions[number] for k, number in places]
    if not regions:
        raise InputError(f"{folder}: its scenes hold no object")
    return SceneObjects(
        images,
        tuple(places),
        tuple(region.category for region in regions),
        tuple(region.caption or region.category for region in regions),
    )


def _read(path: Path, bands: list[int]) -> NDArray[np.uint8]:
    import rasterio

    try:
        with rasterio.open(path) as file:
            if file.count < len(bands) or file.dtypes[0] != "uint8":
                raise InputError(f"{path}: {file.count} bands of {file.dtypes[0]}; {len(bands)} of uint8 are needed")
            pixels: NDArray[np.uint8] = file.read(bands)
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return pixels


def outlines_of(rgb: Path) -> list[Any]:
    """The outlines of a scene's objects in pixels, as their file has them in longitude and latitude."""
    import pyproj
    import rasterio
    import shapely

    features = json.loads(rgb.with_name(rgb.name.replace("_rgb.tif", "_objects.geojson")).read_bytes())["features"]
    with rasterio.open(rgb) as file:
        from_lonlat = pyproj.Transformer.from_crs("OGC:CRS84", file.crs, always_xy=True)
        inverse = ~file.transform

    def to_pixels(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = from_lonlat.transform(lonlat[:, 0], lonlat[:, 1])
        return np.stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f], axis=1)

    return [shapely.transform(shapely.geometry.shape(one["geometry"]), to_pixels) for one in features]


def _class_inside(labels: NDArray[np.uint8], outline: Any, box: Window) -> int:
    """The most frequent label inside, the lowest of equals; of the box where the outline holds no pixel's centre."""
    import rasterio.features
    from rasterio.transform import Affine

    seen = box.intersection(Window(0, 0, *labels.shape))
    if not seen:
        return UNKNOWN
    outside = rasterio.features.geometry_mask(
        [outline], seen.shape, Affine.translation(seen.col, seen.row), all_touched=False
    )
    part = labels[seen.slices()]
    known = part[(~outside if not outside.all() else np.ones_like(outside)) & (part != UNKNOWN)]
    return int(np.bincount(known).argmax()) if known.size else UNKNOWN
