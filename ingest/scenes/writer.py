"""Scenes as files: GeoTIFFs and GeoJSON in a folder, or the same files in one plain tar."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from gridscribe.errors import UsageError
from gridscribe.values import Grid

from .classes import CLASSES
from .render import Scene, generate_scene

HEIGHT_NODATA = -9999.0
SUFFIXES = "_rgb.tif", "_ndsm.tif", "_labels.tif", "_objects.geojson"


def write_scenes(
    folder: Path | None,
    count: int,
    seed: int,
    size: int = 1024,
    gsd: float | tuple[float, float] | None = None,
    *,
    tar: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Writes scenes 0..count-1 of a seed into a folder, or (with `tar` and no folder) into an uncompressed tar archive.

    Each scene is `<id>_rgb.tif` (uint8, tiled, deflate), `<id>_ndsm.tif` (float32 metres, nodata -9999 in holes, in one of
    three scenes on a coarser grid of its own), `<id>_labels.tif` (uint8 with a colour table and class names) and
    `<id>_objects.geojson` (RFC 7946, lon/lat). The same arguments write the same bytes. `progress` is called with
    (scenes done, count) after each. Returns the files written, or the one archive. Raises UsageError unless exactly one of
    `folder` and `tar` is given and count >= 1.
    """
    if (folder is None) == (tar is None):
        raise UsageError(
            f"scenes go into a folder or a tar archive, exactly one of them; got folder={folder}, tar={tar}"
        )
    if count < 1:
        raise UsageError(f"--count must be at least 1, got {count}")
    written: list[Path] = []
    if tar is not None:
        tar.parent.mkdir(parents=True, exist_ok=True)
        part = tar.with_name(tar.name + ".part")
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
            for index in range(count):
                for name, data in scene_files(generate_scene(seed, size, gsd, index=index)).items():
                    member = tarfile.TarInfo(name)  # mtime, owner: zero, so that equal scenes make equal archives
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
                if progress is not None:
                    progress(index + 1, count)
        part.replace(tar)
        return [tar]
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        for name, data in scene_files(generate_scene(seed, size, gsd, index=index)).items():
            path = folder / name
            path.write_bytes(data)
            written.append(path)
        if progress is not None:
            progress(index + 1, count)
    return written


def scene_files(scene: Scene) -> dict[str, bytes]:
    """The four files of a scene, by name."""
    height = scene.ndsm if scene.height_native is None else scene.height_native
    height_grid = scene.height_grid or scene.grid
    filled = np.where(np.isfinite(height), height, np.float32(HEIGHT_NODATA))
    return {
        f"{scene.id}_rgb.tif": _geotiff(scene.rgb, scene.grid, photometric="RGB", interleave="pixel"),
        f"{scene.id}_ndsm.tif": _geotiff(filled[None], height_grid, nodata=HEIGHT_NODATA, predictor=3),
        f"{scene.id}_labels.tif": _geotiff(scene.labels[None], scene.grid, classes=True),
        f"{scene.id}_objects.geojson": objects_geojson(scene),
    }


def objects_geojson(scene: Scene) -> bytes:
    """The scene's objects as a FeatureCollection in lon/lat (CRS84), exterior rings counter-clockwise as RFC 7946 asks.

    Properties: `category`, `caption`, `height` (metres), `bbox_px` [x0, y0, x1, y1] in pixels of the scene's image.
    """
    to_lonlat = pyproj.Transformer.from_crs(scene.grid.crs, "OGC:CRS84", always_xy=True)
    a, b, c, d, e, f = scene.grid.transform or (1, 0, 0, 0, 1, 0)
    features = []
    for number, item in enumerate(scene.objects):
        pixels = shapely.geometry.shape(item["geometry"])

        def project(xy: np.ndarray) -> np.ndarray:
            x, y = a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f
            return np.round(np.stack(to_lonlat.transform(x, y), axis=1), 8)

        shape = shapely.orient_polygons(shapely.transform(pixels, project))
        features.append(
            {
                "type": "Feature",
                "id": f"{scene.id}/{number}",
                "bbox": list(shape.bounds),
                "properties": {
                    "category": item["category"],
                    "caption": item["caption"],
                    "height": item["height"],
                    "bbox_px": item["bbox"],
                },
                "geometry": shapely.geometry.mapping(shape),
            }
        )
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, separators=(",", ":")).encode()


def _geotiff(bands: np.ndarray, grid: Grid, *, classes: bool = False, **options: Any) -> bytes:
    profile = {
        "driver": "GTiff",
        "height": grid.height,
        "width": grid.width,
        "count": len(bands),
        "dtype": bands.dtype,
        "crs": grid.crs,
        "transform": Affine(*grid.transform) if grid.transform else None,
        "compress": "deflate",
        "zlevel": 6,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        **options,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(bands)
            if classes:
                file.write_colormap(1, {c.id: (*c.color, 255) for c in CLASSES})
                file.colorinterp = (ColorInterp.palette,)
                file.update_tags(1, **{f"CLASS_{c.id}": c.name for c in CLASSES})
        return bytes(memory.getbuffer())
