"""Job configs: read and checked once, here, into frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gridscribe.errors import UsageError
from gridscribe.ingest.images import InputOptions
from gridscribe.pipelines.alignment_options import AlignmentOptions, TokenOptions, VocabularyOptions
from gridscribe.pipelines.documents.options import PagesJob, pages_job
from gridscribe.pipelines.job_parts import EngineOptions, checked
from gridscribe.regions import CELL

ITEM_GRAIN = 512  # item edges lie on multiples of this (the block size of the files written)
MIN_PIXELS = 16
"""Default of `regions.min_pixels`: the shipped networks answer in cells of 4 x 4 pixels, and what is smaller than one is made
by interpolation between them. (Generated scenes at 0.2 m: 0.64 m2, below everything that their labels hold.)"""


@dataclass(frozen=True, slots=True)
class RegionOptions:
    """How masks become regions."""

    min_pixels: int = MIN_PIXELS
    """Connected areas of fewer pixels are no regions."""

    def __post_init__(self) -> None:
        if isinstance(self.min_pixels, bool) or not isinstance(self.min_pixels, int):
            raise UsageError(f"regions.min_pixels={self.min_pixels!r}: must be a whole number")
        if not 1 <= self.min_pixels <= CELL:
            raise UsageError(f"regions.min_pixels={self.min_pixels}: must be 1 to {CELL}")


@dataclass(frozen=True, slots=True)
class RasterJob:
    """A raster job as its config states it."""

    model: str = "scenes"
    """A shipped model's name, a folder, or a URI of a model package."""
    vocabulary: VocabularyOptions | None = None
    """Classes that are only named; then `model` is not used."""
    inputs: InputOptions = field(default_factory=InputOptions)
    """How inputs are read; part of the product."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    window: int | None = None
    """Pixels a side that the network sees at once; None: the model package's own."""
    stride: int | None = None
    """Pixels from one window to the next; None: the model package's own."""
    strict_gsd: bool = False
    """Refuse images outside the model's range of ground sampling distance instead of resampling them."""
    regions: RegionOptions | None = field(default_factory=RegionOptions)
    """How masks become regions, once all of an image's are there; None leaves regions out."""
    alignment: AlignmentOptions | None = None
    """The model that embeds images and regions in the space of words; None leaves embeddings out."""
    tokens: TokenOptions | None = field(default_factory=TokenOptions)
    """How dense tokens are stored, where there is an alignment model; None leaves them out."""
    item_size: int = 8192
    """Largest box of one item, pixels a side; a multiple of 512. Does not change any pixel."""
    bundle_pixels: int = 16 * 1024 * 1024
    """Small images are bundled into items of about so many pixels. Does not change any pixel."""
    time_limit: float = 1800.0
    """Seconds one item may take."""
    attempts: int = 3
    """How often an item is tried when its worker dies."""

    def __post_init__(self) -> None:
        if self.item_size < ITEM_GRAIN or self.item_size % ITEM_GRAIN:
            raise UsageError(f"item_size={self.item_size}: must be a positive multiple of {ITEM_GRAIN}")
        if self.window is not None and self.window < 1:
            raise UsageError(f"window={self.window}: must be at least 1")
        if self.stride is not None and self.stride < 1:
            raise UsageError(f"stride={self.stride}: must be at least 1")
        if self.bundle_pixels < 1:
            raise UsageError(f"bundle_pixels={self.bundle_pixels}: must be at least 1")
        if self.time_limit <= 0:
            raise UsageError(f"time_limit={self.time_limit}: must be more than 0 seconds")
        if self.attempts < 1:
            raise UsageError(f"attempts={self.attempts}: must be at least 1")


_PARTS: dict[str, type] = {
    "inputs": InputOptions,
    "engine": EngineOptions,
    "regions": RegionOptions,
    "vocabulary": VocabularyOptions,
    "alignment": AlignmentOptions,
    "tokens": TokenOptions,
}
_OPTIONAL = ("vocabulary", "regions", "alignment", "tokens")


def raster_job(values: Mapping[str, Any], where: str = "job config") -> RasterJob:
    """A `RasterJob` from plain data; raises `UsageError` naming the key, the value and what is allowed."""
    values = dict(values)
    for name, cls in _PARTS.items():
        if name not in values:
            continue
        optional = name in _OPTIONAL
        if optional and (values[name] is None or values[name] is False or values[name] in ("off", "None")):
            values[name] = None
            continue
        if not isinstance(values[name], Mapping):
            what = f"a dict, or None to leave {name} out" if optional else "a dict"
            raise UsageError(f"{where}: {name}={values[name]!r}: must be {what}")
        values[name] = checked(cls, values[name], f"{where}: {name}")
    for key in ("window", "stride", "item_size", "bundle_pixels", "attempts"):
        value = values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise UsageError(f"{where}: {key}={value!r}: must be a whole number")
    return checked(RasterJob, values, where)


def config_path(job: str) -> Path:
    """The file that `JOB` names: a path, or the name of a config in `configs/jobs/`."""
    import gridscribe.configs

    path = Path(job)
    if path.suffix in (".py", ".json") and path.is_file():
        return path
    folder = Path(gridscribe.configs.__path__[0]) / "jobs"
    shipped = folder / f"{job}.py"
    if not shipped.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__"))
        raise UsageError(f"job {job!r}: neither a .py or .json config file nor one of the shipped jobs ({names})")
    return shipped


def load_job(job: str, overrides: Mapping[str, Any] | None = None) -> RasterJob | PagesJob:
    """Read the job config `job` (path or shipped name) with `overrides` (dotted keys) merged; it says its kind."""
    from mmengine.config import Config

    path = config_path(job)
    config = Config.fromfile(str(path))
    if overrides:
        config.merge_from_dict(dict(overrides))
    values = config.to_dict()
    kind = values.pop("job", None)
    if kind == "documents":
        return pages_job(values, path.name)
    if kind != "raster":
        raise UsageError(f"{path.name}: job={kind!r}: must be 'raster' or 'documents'")
    return raster_job(values, path.name)


def as_settings(job: RasterJob) -> dict[str, Any]:
    """The part of the job that decides pixels, as plain data for the product.

    Regions stand in it only where they are not the default ones. So a job without regions has the product of a job with the
    default ones, its masks are that product's, and a later run adds the regions to them; while two settings of regions,
    which would write different regions under the same names, never share a product. (A new default needs a new output
    schema, as everything does that makes the same settings write other bytes.)
    """
    settings: dict[str, Any] = {"inputs": job.inputs.settings(), "strict_gsd": job.strict_gsd}
    if job.regions not in (None, RegionOptions()):
        settings["regions"] = asdict(job.regions)
    return settings
