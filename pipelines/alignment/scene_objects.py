"""Generated scenes as annotated images: their objects with categories and captions."""

from __future__ import annotations

import json
from pathlib import Path

from gridscribe.errors import InputError
from gridscribe.pipelines.alignment.annotated import AnnotatedImage, AnnotatedRegion


def read_scenes(folder: Path) -> list[AnnotatedImage]:
    """Every `<id>_rgb.tif` of `folder` with the objects of its `<id>_objects.geojson`, by name.

    The images have no caption of their own. Raises InputError where there is no scene, or its objects cannot be read.
    """
    import rasterio

    found = []
    for path in sorted(folder.glob("*_rgb.tif")):
        objects = path.with_name(path.name.replace("_rgb.tif", "_objects.geojson"))
        try:
            features = json.loads(objects.read_bytes())["features"]
            with rasterio.open(path) as image:
                width, height = image.width, image.height
            regions = []
            for feature in features:
                known = feature["properties"]
                x0, y0, x1, y1 = known["bbox_px"]
                box = (x0 / width, y0 / height, x1 / width, y1 / height)
                regions.append(AnnotatedRegion(box, str(known["category"]), str(known["caption"])))
        except (OSError, ValueError, KeyError, TypeError, rasterio.errors.RasterioError) as error:
            raise InputError(f"{objects}: is not the objects file of a generated scene: {error!r}") from error
        found.append(AnnotatedImage(path, tuple(regions)))
    if not found:
        raise InputError(f"{folder}: holds no generated scene (<id>_rgb.tif with <id>_objects.geojson)")
    return found
