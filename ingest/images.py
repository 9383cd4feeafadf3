"""What discovery finds, as values: how inputs are read, an image to process, an input that is not processed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gridscribe.errors import UsageError
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.sources import Source
from gridscribe.ingest.times import iso
from gridscribe.values import Grid


@dataclass(frozen=True)
class InputOptions:
    """How rasters are read. A job's config states it once; every image carries it to the worker that reads it."""

    scale: tuple[float, float] | None = None
    """RGB values mapped linearly to 0 and 255, clipped and rounded; required where RGB is not uint8, unused where it is."""
    nodata: float | None = None
    """RGB nodata, in place of what the files state."""
    height_nodata: float | None = None
    """Height (DSM, DTM) nodata, in place of what the files state."""
    height_range: tuple[float, float] = (-10.0, 500.0)
    """Metres above ground; heights outside are invalid. Small negative heights, the noise of LiDAR, stay as they are."""
    height_scale: float = 1.0
    """Metres to one unit of the stored height, after the file's own scale and offset."""
    rgb_bands: tuple[int, int, int] = (1, 2, 3)
    """1-based bands of red, green, blue."""
    height_band: int | None = None
    """1-based band of height in files that hold RGB and height together; None: by the bands' descriptions."""
    gsd: float | None = None
    """Metres to a pixel of images that are not georeferenced."""
    datetime: str | None = None
    """ISO 8601 date or time of images that state none."""
    require_height: bool = False
    """Refuse images without height also where the model can do without."""
    datetime_pattern: str | None = None
    """Regular expression with groups `year`, `month`, `day` (and `hour`, `minute`, `second`) searched in the path of images
    that state no time."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if isinstance(self.limits, Mapping):  # as configs and plans state them
            try:
                object.__setattr__(self, "limits", Limits(**self.limits))
            except TypeError as exc:
                raise UsageError(f"input option 'limits': {exc}; allowed: {', '.join(Limits.__annotations__)}") from exc
        if self.scale is not None and not (all(map(math.isfinite, self.scale)) and self.scale[0] < self.scale[1]):
            raise UsageError(f"input option 'scale' needs two finite numbers, low < high, got {self.scale}")
        if not self.height_range[0] < self.height_range[1]:
            raise UsageError(f"input option 'height_range' needs low < high metres, got {self.height_range}")
        if not (math.isfinite(self.height_scale) and self.height_scale > 0):
            raise UsageError(f"input option 'height_scale' needs a finite number > 0, got {self.height_scale}")
        if len(self.rgb_bands) != 3 or min(self.rgb_bands) < 1:
            raise UsageError(f"input option 'rgb_bands' needs three band numbers from 1, got {self.rgb_bands}")
        if self.height_band is not None and (self.height_band < 1 or self.height_band in self.rgb_bands):
            raise UsageError(
                f"input option 'height_band' needs a band number from 1 that is not in rgb_bands {self.rgb_bands}, "
                f"got {self.height_band}"
            )
        if self.gsd is not None and not (math.isfinite(self.gsd) and self.gsd > 0):
            raise UsageError(f"input option 'gsd' needs metres > 0, got {self.gsd}")
        if not isinstance(self.require_height, bool):
            raise UsageError(f"input option 'require_height' needs True or False, got {self.require_height!r}")
        if self.datetime is not None and iso(self.datetime) is None:
            raise UsageError(f"input option 'datetime' needs an ISO 8601 date or time, got {self.datetime!r}")
        if self.datetime_pattern is not None:
            _check_pattern(self.datetime_pattern)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `InputOptions.from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> InputOptions:
        """The inverse of `to_json`."""
        data = dict(data)
        for key in ("scale", "height_range", "rgb_bands"):
            if data.get(key) is not None:
                data[key] = tuple(data[key])
        return cls(**data)

    def settings(self) -> dict[str, Any]:
        """The options that results depend on, as plain data for a product: all but those that only refuse.

        What is not refused has the same pixels either way. So these stay out of product ids: older products keep theirs, and
        a job that insists on height goes on from one that did not.
        """
        return {key: value for key, value in self.to_json().items() if key not in ("limits", "require_height")}


@dataclass(frozen=True, slots=True)
class RasterImage:
    """One image to process: where its RGB and height lie, its grid, and everything else that a worker needs to open it.

    Height comes from `height`, or from `dsm` minus `dtm`, or from band `height_band` of `rgb`; without any of them the image
    has none, and all of its height is NaN.
    """

    image_id: str
    """Slug of `path` + "-" + 8 hex of its identity: stable over runs and machines, another one when the bytes change."""
    source: str
    """The image's place below the input root or in its archive, for people."""
    rgb: Source
    height: Source | None
    dsm: Source | None
    dtm: Source | None
    height_band: int | None
    grid: Grid
    dtype: str
    """Of the stored RGB."""
    gsd: float | None
    """Metres to a pixel, where known."""
    datetime: str | None
    """ISO 8601 UTC, where stated by STAC, the TIFF tag, the path or the options."""
    options: InputOptions

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files that it is made of."""
        return tuple(s for s in (self.rgb, self.height, self.dsm, self.dtm) if s is not None)

    @property
    def has_height(self) -> bool:
        """Whether there is anything to read height from."""
        return self.height_band is not None or len(self.sources) > 1

    def to_json(self, *, options: bool = True) -> dict[str, Any]:
        """Plain data; `RasterImage.from_json` reads it. `options=False` leaves them out, for plans that state them once."""
        data: dict[str, Any] = {"image_id": self.image_id, "source": self.source, "rgb": self.rgb.to_json()}
        for key in ("height", "dsm", "dtm"):
            source = getattr(self, key)
            data[key] = source.to_json() if source else None
        data |= {"height_band": self.height_band, "grid": self.grid.to_json(), "dtype": self.dtype}
        data |= {"gsd": self.gsd, "datetime": self.datetime}
        if options:
            data["options"] = self.options.to_json()
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any], options: InputOptions | None = None) -> RasterImage:
        """The inverse of `to_json`; `options` stand in for options that were left out."""

        def source(key: str) -> Source | None:
            return Source.from_json(data[key]) if data.get(key) else None

        if options is None:
            options = InputOptions.from_json(data["options"])
        return cls(
            image_id=data["image_id"],
            source=data["source"],
            rgb=Source.from_json(data["rgb"]),
            height=source("height"),
            dsm=source("dsm"),
            dtm=source("dtm"),
            height_band=data["height_band"],
            grid=Grid.from_json(data["grid"]),
            dtype=data["dtype"],
            gsd=data["gsd"],
            datetime=data["datetime"],
            options=options,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """An input that is not processed, and why."""

    source: str
    """Full name of the file or member."""
    state: Literal["skipped", "failed"]
    reason: str
    """A sentence for the user."""
    error: str
    """Name of the error class of a failure; a word for the kind of a skip ("label", "format", ...)."""

    def to_json(self) -> dict[str, str]:
        """Plain data; `Account(**data)` reads it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Gap(Account):
    """The account of an archive or folder of which nobody knows what else it holds."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What lies under the inputs: every file is part of exactly one image or has exactly one account."""

    images: tuple[RasterImage, ...]
    accounts: tuple[Account, ...]


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as exc:
        raise UsageError(f"input option 'datetime_pattern' is no regular expression: {pattern!r}: {exc}") from exc
    if "year" not in groups:
        raise UsageError(f"input option 'datetime_pattern' needs a group (?P<year>...), got {pattern!r}")
