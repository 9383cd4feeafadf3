"""Says how many matches of the demo are what the scenes say is there: `demo_matches.py SCENES MATCHES.geojson CATEGORY`.

A match is right where at least half of its area is covered by objects of the category, those that the generator wrote beside the
scenes. Exit status 1 where fewer than half of the matches are right.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shapely import make_valid, union_all
from shapely.geometry import shape

RIGHT = 0.5


def main(folder: Path, matches: Path, category: str) -> tuple[int, int]:
    """How many matches are right, of how many."""
    objects = union_all(
        [
            make_valid(shape(feature["geometry"]))
            for path in sorted(folder.glob("*_objects.geojson"))
            for feature in json.loads(path.read_text())["features"]
            if feature["properties"]["category"] == category
        ]
    )
    found = [make_valid(shape(feature["geometry"])) for feature in json.loads(matches.read_text())["features"]]
    return sum(area.intersection(objects).area >= RIGHT * area.area for area in found), len(found)


if __name__ == "__main__":
    right, total = main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    sys.stdout.write(f"{right} of the {total} best matches are a {sys.argv[3]} in the scenes' own objects\n")
    sys.exit(2 * right < max(total, 1))
