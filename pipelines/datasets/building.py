"""From the paths of an image's files to a `LabelledImage`: what every kind of data set ends in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gridscribe.errors import InputError, UnpairedError
from gridscribe.ingest.bytesio import local_version
from gridscribe.ingest.identity import image_id
from gridscribe.ingest.images import InputOptions, RasterImage
from gridscribe.ingest.info import ground_sampling_distance
from gridscribe.ingest.opening import open_bytes
from gridscribe.ingest.parts import Part, check_parts
from gridscribe.ingest.probe import Prober
from gridscribe.ingest.sources import Source
from gridscribe.pipelines.datasets.labelled import LabelledImage
from gridscribe.pipelines.datasets.labels import LabelCoding, LabelFile
from gridscribe.pipelines.datasets.legends import Legend


@dataclass(frozen=True)
class Builder:
    """Makes the images of one data set: what they have in common, and what was learnt from the headers read so far."""

    legend: Legend
    coding: LabelCoding
    options: InputOptions
    prober: Prober = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prober", Prober(self.options.limits))

    def image(self, name: str, rgb: Path, height: Path | None, labels: Path) -> LabelledImage:
        """The image called `name`; height inside the RGB file where `height` is None.

        Reads headers. A file's version stands for its content (unlike in ingest, where results are stored under ids): data
        sets of tens of thousands of files are found without reading them all. Raises InputError where files cannot be
        read or do not make an image.
        """
        parts = {"rgb": self._look(rgb)}
        if height is not None:
            parts["height"] = self._look(height)
        band = check_parts(parts, self.options)
        info = parts["rgb"].info
        grid = info.grid
        raster = RasterImage(
            image_id=image_id(name, [(role, part.source.size or 0, part.digest) for role, part in parts.items()]),
            source=name,
            rgb=parts["rgb"].source,
            height=parts["height"].source if height is not None else None,
            dsm=None,
            dtm=None,
            height_band=band,
            grid=grid,
            dtype=info.dtype,
            gsd=ground_sampling_distance(grid) if grid.georeferenced else self.options.gsd,
            datetime=info.datetime,
            options=self.options,
        )
        return LabelledImage(name, raster, LabelFile(_source(labels), self.coding), self.legend)

    def _look(self, path: Path) -> Part:
        source = _source(path)
        ranges = open_bytes(source, self.options.limits)
        try:
            return Part(source, source.uri, self.prober.probe(ranges), source.etag or "")
        finally:
            ranges.close()


def _source(path: Path) -> Source:
    name = str(path.absolute())
    size, version = local_version(name)
    return Source(name, size=size, etag=version)


def partner(of: Path, candidates: Iterable[Path], what: str) -> Path:
    """The first of `candidates` that is a file. Raises UnpairedError that names `of` and where was looked."""
    looked = list(candidates)
    for path in looked:
        if path.is_file():
            return path
    raise UnpairedError(f"{of}: no {what} belongs to it: expected {' or '.join(map(str, looked))}")


def existing_folder(path: Path, what: str) -> Path:
    """`path`, which must be a folder. Raises InputError that says what should be in it."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected {what}: check the root of the data set and the split")
    return path
