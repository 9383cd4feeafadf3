"""Whether files make an image together: bands, types, sizes and places that fit.

A file is georeferenced by a transform and a CRS. One that has only ground control points or RPCs is not: it is an image in
its own pixels, like one without any place.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridscribe.errors import UnpairedError, UnreadableError
from gridscribe.ingest.images import InputOptions
from gridscribe.ingest.info import RasterInfo
from gridscribe.ingest.sources import Source
from gridscribe.ingest.warp import overlaps

HEIGHT_WORDS = ("ndsm", "chm", "agl", "height")


@dataclass(frozen=True, slots=True)
class Part:
    """One file that has been looked at."""

    source: Source
    path: str
    info: RasterInfo
    digest: str
    """Of its content, or its etag."""


def check_parts(parts: dict[str, Part], options: InputOptions, must_have: str | None = "") -> int | None:
    """The band of height inside the RGB file, None where height has files of its own, or there is none.

    `must_have` says why there must be height, for the message; None where an image may do without. That is for files that
    hold RGB and opacity alone: a band more may be the height, and a file that lacks the stated `height_band` is no such file.

    Raises UnpairedError or UnreadableError where the parts do not make an image; the message says what would.
    """
    rgb, name = parts["rgb"].info, parts["rgb"].source.name
    if max(options.rgb_bands) > rgb.count:
        bands = "1 band" if rgb.count == 1 else f"{rgb.count} bands"
        raise UnpairedError(f"{name}: {bands}, RGB needs bands {options.rgb_bands} (input option 'rgb_bands')")
    if rgb.dtype not in _DTYPES:
        raise UnreadableError(f"{name}: RGB of type {rgb.dtype} is not read: expected {', '.join(_DTYPES)}")
    if rgb.dtype != "uint8" and options.scale is None:
        raise UnreadableError(
            f"{name}: RGB is {rgb.dtype}, and nothing says which values are black and white: set input option 'scale', "
            "for example scale=0,65535"
        )
    if len(parts) == 1:
        return _height_band(name, rgb, options, must_have)
    for role, part in parts.items():
        if role != "rgb":
            _check_height(name, rgb, part)
    return None


_DTYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64")


def _height_band(name: str, rgb: RasterInfo, options: InputOptions, must_have: str | None) -> int | None:
    if options.height_band is not None:
        if options.height_band > rgb.count:
            raise UnpairedError(
                f"{name}: no height beside it, and {rgb.count} bands, fewer than input option 'height_band' "
                f"({options.height_band})"
            )
        return options.height_band
    described = [band for band, text in enumerate(rgb.descriptions, 1) if text.strip().casefold() in HEIGHT_WORDS]
    for band in described:
        if band not in options.rgb_bands:
            return band
    if described:
        raise UnpairedError(
            f"{name}: band {described[0]} is described as height, and is one of RGB's {options.rgb_bands} (input option "
            "'rgb_bands')"
        )
    if set(range(1, rgb.count + 1)) - {*options.rgb_bands, _opacity(rgb)}:
        raise UnpairedError(
            f"{name}: {rgb.count} bands, none described as height ({', '.join(HEIGHT_WORDS)}): set input option "
            "'height_band', or put a height file beside it"
        )
    if must_have is None:
        return None
    reason = f"; {must_have}" if must_have else ""
    raise UnpairedError(
        f"{name}: no height beside it: expected the same name with `ndsm`, or with `dsm` and `dtm`{reason}"
    )


def _opacity(rgb: RasterInfo) -> int | None:
    """The opacity band. GDAL marks the fourth of four byte bands as opacity unless told otherwise: one described as something
    else ("near infrared") is none."""
    if rgb.alpha is None:
        return None
    described = rgb.descriptions[rgb.alpha - 1].strip().casefold()
    return rgb.alpha if not described or "alpha" in described else None


def _check_height(name: str, rgb: RasterInfo, part: Part) -> None:
    info, other = part.info, part.source.name
    if info.count - (info.alpha is not None) != 1:
        raise UnpairedError(f"{other}: {info.count} bands, where one of height is expected beside {name}")
    if info.dtype not in (*_DTYPES, "int8"):
        raise UnreadableError(f"{other}: height of type {info.dtype} is not read: expected {', '.join(_DTYPES)}")
    if not (rgb.grid.georeferenced and info.grid.georeferenced):
        if (rgb.height, rgb.width) != (info.height, info.width):
            raise UnpairedError(
                f"{name} has {rgb.height} x {rgb.width} pixels, its height {other} {info.height} x {info.width}, and not "
                "both are georeferenced: give both the same size, or both a place on Earth"
            )
    elif not overlaps(info.grid, rgb.grid):
        raise UnpairedError(f"{name} and its height {other} do not overlap: check their transforms and CRS")
