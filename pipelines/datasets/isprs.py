"""The ISPRS 2D semantic labelling benchmark: Vaihingen (0.09 m, near infrared-R-G) and Potsdam (0.05 m, R-G-B).

Labels are colour-coded; in the eroded ones, pixels within three of an object's edge are black and belong to no class.
Height is the benchmark's normalised DSM, 8 bits: its files do not say how many metres a level is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.images import InputOptions
from gridscribe.pipelines.datasets.building import Builder, partner
from gridscribe.pipelines.datasets.labelled import LabelledImage
from gridscribe.pipelines.datasets.labels import colors
from gridscribe.pipelines.datasets.legends import ISPRS

BOUNDARY = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Area:
    """One of the two areas: where its files lie, `{0}` and `{1}` being the numbers in a tile's name, and its splits."""

    rgb: str
    heights: tuple[str, ...]
    labels: tuple[str, ...]
    eroded: tuple[str, ...]
    gsd: float
    splits: dict[str, tuple[str, ...]]


def _tiles(pattern: str, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(pattern.format(n) for n in numbers)


AREAS = {
    "vaihingen": _Area(
        rgb="top/top_mosaic_09cm_area{0}.tif",
        heights=("dsm/dsm_09cm_matching_area{0}_normalized.jpg", "dsm/dsm_09cm_matching_area{0}_normalized.tif"),
        labels=("gts_for_participants/top_mosaic_09cm_area{0}.tif",),
        eroded=(
            "gts_for_participants/top_mosaic_09cm_area{0}_noBoundary.tif",
            "gts_eroded_for_participants/top_mosaic_09cm_area{0}_noBoundary.tif",
        ),
        gsd=0.09,
        splits={
            "train": _tiles("{}", (1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37)),
            "test": _tiles("{}", (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38)),
        },
    ),
    "potsdam": _Area(
        rgb="2_Ortho_RGB/top_potsdam_{0}_{1}_RGB.tif",
        heights=("1_DSM_normalisation/dsm_potsdam_{0:0>2}_{1:0>2}_normalized_lastools.jpg",),
        labels=("5_Labels_all/top_potsdam_{0}_{1}_label.tif",),
        eroded=(
            "5_Labels_all/top_potsdam_{0}_{1}_label_noBoundary.tif",
            "5_Labels_all_noBoundary/top_potsdam_{0}_{1}_label_noBoundary.tif",
        ),
        gsd=0.05,
        splits={
            "train": (
                *(*_tiles("2_{}", (10, 11, 12)), *_tiles("3_{}", (10, 11, 12)), *_tiles("4_{}", (10, 11, 12))),
                *(*_tiles("5_{}", (10, 11, 12)), *_tiles("6_{}", range(7, 13)), *_tiles("7_{}", range(7, 13))),
            ),
            "test": (
                *(*_tiles("2_{}", (13, 14)), *_tiles("3_{}", (13, 14)), *_tiles("4_{}", (13, 14, 15))),
                *(*_tiles("5_{}", (13, 14, 15)), *_tiles("6_{}", (13, 14, 15)), *_tiles("7_{}", (13,))),
            ),
        },
    ),
}
"""The splits are the benchmark's own: labels given to participants, and labels published after it closed."""


def find_isprs(
    root: Path,
    split: str | None,
    *,
    area: str,
    metres_per_level: float,
    eroded: bool = False,
    tiles: Sequence[str] | None = None,
) -> list[LabelledImage]:
    """The tiles of a split of `area` ("vaihingen" or "potsdam"), in the benchmark's order.

    `metres_per_level`: metres to one unit of the normalised DSM. `eroded`: labels without the pixels at objects' edges, on
    which published scores are computed. `tiles`: others than the split's standard list ("11"; "2_10"), as some papers
    use. Raises UsageError where an argument is none of these, InputError where a tile or a part of it is missing.
    """
    if area not in AREAS:
        raise UsageError(f"isprs: area {area!r}: choose one of {', '.join(AREAS)}")
    facts = AREAS[area]
    if split not in facts.splits:
        raise UsageError(f"isprs: split {split!r}: choose one of {', '.join(facts.splits)}")
    options = InputOptions(gsd=facts.gsd, height_scale=metres_per_level)
    builder = Builder(ISPRS, colors(ISPRS.palette, BOUNDARY), options)
    found = []
    for tile in facts.splits[split] if tiles is None else tiles:
        numbers = tile.split("_")
        if len(numbers) != 1 + (area == "potsdam") or not all(n.isdecimal() for n in numbers):
            example = "'2_10'" if area == "potsdam" else "'11'"
            raise UsageError(f"isprs: tile {tile!r} is no name in {area}: expected one like {example}")
        rgb = root / facts.rgb.format(*numbers)
        if not rgb.is_file():
            raise InputError(
                f"{rgb}: no such file; it is tile {tile} of the {split} split of {area}: unpack it there, or name the tiles "
                "that there are in option 'tiles'"
            )
        # the DSM without "normalized" in its name holds heights above sea level: not to be taken for it
        height = partner(rgb, [root / p.format(*numbers) for p in facts.heights], "normalised DSM")
        wanted = facts.eroded if eroded else facts.labels
        labels = partner(
            rgb, [root / p.format(*numbers) for p in wanted], "eroded label file" if eroded else "label file"
        )
        found.append(builder.image(f"{area}-{tile}", rgb, height, labels))
    return found
