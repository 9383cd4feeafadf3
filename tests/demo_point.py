"""Prints "LON LAT" of a place worth asking about in generated scenes: inside the largest swimming pool, else building."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shapely.geometry import shape


def main(folder: Path) -> str:
    """The point, from the objects that were written beside the scenes."""
    areas = [
        (feature["properties"]["category"], shape(feature["geometry"]))
        for path in sorted(folder.glob("*_objects.geojson"))
        for feature in json.loads(path.read_text())["features"]
    ]
    wanted = "swimming pool" if any(category == "swimming pool" for category, _ in areas) else "building"
    point = max(
        (area for category, area in areas if category == wanted), key=lambda area: area.area
    ).representative_point()
    return f"{point.x:.8f} {point.y:.8f}"


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])) + "\n")
