"""The VRT that joins the parts of an image of several items into one raster, for GDAL, QGIS and rio-tiler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from gridscribe.pipelines.cog import ClassLike, RasterKind
from gridscribe.tiff import BLOCK
from gridscribe.values import Grid, Window

_TYPES = {"uint8": "Byte", "int16": "Int16"}


def write_vrt(
    kind: RasterKind, grid: Grid, parts: Iterable[tuple[str, Window]], classes: Sequence[ClassLike] = ()
) -> bytes:
    """The VRT of an image on `grid` whose `parts` are (path relative to the VRT, box of the image).

    Pixels of no part are nodata. Names of classes stand as category names and their colours as a colour table, so that
    QGIS draws a legend; scale and unit as in the parts. It names neither host nor folder, so it works on disk and
    under `/vsis3/` alike; the same parts in any order give the same bytes.
    """
    size = f'rasterXSize="{grid.width}" rasterYSize="{grid.height}"'
    lines = [f"<VRTDataset {size}>"]
    if grid.transform is not None:
        a, b, c, d, e, f = (repr(float(term)) for term in grid.transform)
        if grid.crs is not None:
            lines.append(f"  <SRS>{escape(grid.crs)}</SRS>")
        lines.append(f"  <GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>")
    lines.append(
        f'  <VRTRasterBand dataType="{_TYPES[kind.dtype]}" band="1" blockXSize="{BLOCK}" blockYSize="{BLOCK}">'
    )
    lines.append(f"    <Description>{kind.name}</Description>")
    lines.append(f"    <NoDataValue>{kind.nodata}</NoDataValue>")
    lines.append(f"    <ColorInterp>{'Palette' if classes else 'Gray'}</ColorInterp>")
    if kind.unit is not None:
        lines.append(f"    <UnitType>{kind.unit}</UnitType>")
    if kind.scale is not None:
        lines += ["    <Offset>0</Offset>", f"    <Scale>{kind.scale!r}</Scale>"]
    lines += _legend(classes)
    for path, box in sorted(parts, key=lambda part: (part[1], part[0])):
        lines += _source(kind, path, box)
    lines += ["  </VRTRasterBand>", *_overviews(kind, grid), "</VRTDataset>", ""]
    return "\n".join(lines).encode()


def _legend(classes: Sequence[ClassLike]) -> list[str]:
    """Category names and colours for values 0 to the highest; values that are no class are nameless and transparent."""
    if not classes:
        return []
    known = {entry.id: entry for entry in classes}
    names, colors = ["    <CategoryNames>"], ["    <ColorTable>"]
    for value in range(max(known) + 1):
        entry = known.get(value)
        red, green, blue = entry.color if entry else (0, 0, 0)
        names.append(f"      <Category>{escape(entry.name) if entry else ''}</Category>")
        colors.append(f'      <Entry c1="{red}" c2="{green}" c3="{blue}" c4="{255 if entry else 0}"/>')
    return [*names, "    </CategoryNames>", *colors, "    </ColorTable>"]


def _source(kind: RasterKind, path: str, box: Window) -> list[str]:
    size = f'xSize="{box.width}" ySize="{box.height}"'
    return [
        "    <SimpleSource>",
        f'      <SourceFilename relativeToVRT="1">{escape(path)}</SourceFilename>',
        "      <SourceBand>1</SourceBand>",
        # Stated here so that opening the VRT opens no part.
        f'      <SourceProperties RasterXSize="{box.width}" RasterYSize="{box.height}" '
        f'DataType={quoteattr(_TYPES[kind.dtype])} BlockXSize="{BLOCK}" BlockYSize="{BLOCK}"/>',
        f'      <SrcRect xOff="0" yOff="0" {size}/>',
        f'      <DstRect xOff="{box.col}" yOff="{box.row}" {size}/>',
        "    </SimpleSource>",
    ]


def _overviews(kind: RasterKind, grid: Grid) -> list[str]:
    """Overviews as GDAL makes them up from those of the parts; without the list it would read full resolution."""
    factors, factor = [], 2
    while max(grid.shape) > BLOCK * factor // 2:
        factors.append(str(factor))
        factor *= 2
    resampling = "MODE" if kind.scale is None else "AVERAGE"
    return [f'  <OverviewList resampling="{resampling}">{" ".join(factors)}</OverviewList>'] if factors else []
