"""COGs against GDAL: pixels, overviews worked out the obvious way, validity, what they say, and their bytes."""

from __future__ import annotations

import contextlib
import itertools
import resource
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.windows import Window as RioWindow
from rio_cogeo import cog_validate

from gridscribe.cog_reader import READ_AHEAD, read_header
from gridscribe.errors import InputError, LayoutError
from gridscribe.pipelines import cog_file
from gridscribe.pipelines.cog import CONFIDENCE, HEIGHT, KINDS, MASK, REGIONS, CogWriter, RasterKind, encode_cog
from gridscribe.pipelines.cog_overviews import average2, mode2
from gridscribe.pipelines.vrt import write_vrt
from gridscribe.store import open_store
from gridscribe.tiff import BLOCK
from gridscribe.values import Grid, Window

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

UTM = (0.2, 0.0, 500_000.4, 0.0, -0.2, 5_000_000.6)


@dataclass(frozen=True)
class Label:
    id: int
    name: str
    color: tuple[int, int, int]


CLASSES = (Label(0, "other", (1, 2, 3)), Label(1, "sol & <eau>", (200, 100, 50)), Label(3, "Gebäude", (255, 0, 7)))


def raster(kind: RasterKind, shape: tuple[int, int], seed: int = 0, holes: bool = True) -> np.ndarray:
    """Blobs with a hole of nodata: neither constant nor noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 7, (shape[0] // 9 + 1, shape[1] // 9 + 1))
    array = np.kron(coarse, np.ones((9, 9), np.int64))[: shape[0], : shape[1]]
    if kind is CONFIDENCE:
        array = array * 30 + rng.integers(0, 5, shape)
    if kind is HEIGHT:
        array = array * 400 - 900 + rng.integers(-30, 30, shape)
    if holes:
        array[shape[0] // 3 : shape[0] // 2, : shape[1] // 2] = kind.nodata
    return array.astype(kind.dtype)


def halve_slowly(array: np.ndarray, kind: RasterKind) -> np.ndarray:
    """Mode or mean of 2 x 2 blocks, one block at a time, with Python's own counting."""
    out = np.full(((array.shape[0] + 1) // 2, (array.shape[1] + 1) // 2), kind.nodata, array.dtype)
    for r, c in np.ndindex(*out.shape):
        values = [int(v) for v in array[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].ravel() if v != kind.nodata]
        if values and kind is MASK:
            out[r, c] = Counter(values).most_common(1)[0][0]  # the first met among equals
        elif values:
            out[r, c] = int(np.floor(sum(values) / len(values) + 0.5))
    return out


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 600), (511, 513), (512, 512), (1024, 700), (1537, 1025), (3000, 5000)])
def test_valid_and_exact(tmp_path: Path, kind: RasterKind, shape: tuple[int, int]) -> None:
    path = tmp_path / "a.tif"
    array = raster(kind, shape)
    encode_cog(path, kind, array, Grid(*shape, UTM, "EPSG:32633"), classes=CLASSES if kind is MASK else ())
    valid, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), array)
        assert file.nodata == kind.nodata
        assert file.crs == "EPSG:32633"
        assert tuple(file.transform[:6]) == UTM
        assert file.block_shapes == [(BLOCK, BLOCK)]
        assert file.compression.name == "zstd"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        levels = len(file.overviews(1))
        assert max(shape) <= BLOCK << levels
        assert not levels or max(shape) > BLOCK << (levels - 1)
        expected = array
    if max(shape) < 1200:
        for level in range(levels):
            expected = halve_slowly(expected, kind)
            with rasterio.open(path, overview_level=level) as file:
                assert np.array_equal(file.read(1), expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(list(KINDS.values())))
def test_halving_is_the_obvious_one(data: st.DataObject, kind: RasterKind) -> None:
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    low, high = (0, 3) if kind is MASK else (-9, 9) if kind is HEIGHT else (0, 254)
    values = st.one_of(st.just(kind.nodata), st.integers(low, high))
    cells = data.draw(st.lists(values, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    array = np.array(cells, kind.dtype).reshape(shape)
    halve = mode2 if kind is MASK else average2
    assert np.array_equal(halve(array, kind.nodata), halve_slowly(array, kind))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 1100), width=st.integers(1, 1100), seed=st.integers(0, 9), cuts=st.integers(1, 5))
def test_rows_may_come_in_any_portions(tmp_path: Path, height: int, width: int, seed: int, cuts: int) -> None:
    array = raster(MASK, (height, width), seed)
    grid = Grid(height, width)
    encode_cog(tmp_path / "whole.tif", MASK, array, grid, classes=CLASSES)
    edges = sorted({0, height, *np.random.default_rng(seed).integers(0, height + 1, cuts).tolist()})
    writer = CogWriter(MASK, grid, classes=CLASSES, scratch=tmp_path)
    for start, stop in itertools.pairwise(edges):
        writer.write_rows(start, array[start:stop])
    writer.save(tmp_path / "parts.tif")
    assert (tmp_path / "whole.tif").read_bytes() == (tmp_path / "parts.tif").read_bytes()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 1600), width=st.integers(1, 2200), seed=st.integers(0, 9), across=st.sampled_from([512, 1024])
)
def test_tiles_written_a_part_at_a_time_give_the_same_file(
    tmp_path: Path, height: int, width: int, seed: int, across: int
) -> None:
    array, grid = raster(REGIONS, (height, width), seed), Grid(height, width)
    encode_cog(tmp_path / "whole.tif", REGIONS, array, grid)
    writer = CogWriter(REGIONS, grid, scratch=tmp_path)
    for row in range(0, height, 512):
        band = array[row : row + 512]
        writer.write_tiles(row, len(band), (band[:, col : col + across] for col in range(0, width, across)))
    writer.save(tmp_path / "parts.tif")
    assert (tmp_path / "whole.tif").read_bytes() == (tmp_path / "parts.tif").read_bytes()


def test_tiles_that_do_not_fit_are_refused() -> None:
    writer = CogWriter(MASK, Grid(900, 1030))
    part = np.zeros((512, 512), np.uint8)
    for row, height, parts in (
        (0, 500, [part]),
        (1, 512, [part]),
        (0, 512, [part, part]),
        (0, 512, [part[:, :300], part]),
        (0, 512, [part[:300]]),
        (0, 512, [part.astype(np.int16)]),
    ):
        with pytest.raises(ValueError, match=r"expected|columns"):
            CogWriter(MASK, Grid(900, 1030)).write_tiles(row, height, parts)
    writer.write_rows(0, np.zeros((5, 1030), np.uint8))
    with pytest.raises(ValueError, match="from 5 on"):
        writer.write_tiles(5, 512, [part])


def test_bytes_hold_no_time_and_no_path(tmp_path: Path) -> None:
    """The same raster written twice, in two processes under two names and folders, is the same file."""
    code = """
        import sys, numpy as np
        from pathlib import Path
        from gridscribe.pipelines.cog import HEIGHT, encode_cog
        from gridscribe.values import Grid
        array = np.arange(700 * 900, dtype=np.int64).reshape(700, 900) % 3000
        encode_cog(Path(sys.argv[1]), HEIGHT, array.astype(np.int16), Grid(700, 900, (1, 0, 2, 0, -1, 3), "EPSG:2154"),
                   metadata={"GRIDSCRIBE_PRODUCT": "p", "A": "b"})
    """
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / "one.tif", tmp_path / "folder" / "two.tif"]
    for path in paths:
        subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert str(tmp_path).encode() not in paths[0].read_bytes()


def test_says_what_it_is(tmp_path: Path) -> None:
    grid = Grid(20, 30, UTM, "EPSG:32633")
    for kind in KINDS.values():
        classes = CLASSES if kind is MASK else ()
        encode_cog(
            tmp_path / f"{kind.name}.tif", kind, raster(kind, grid.shape), grid, classes=classes,
            metadata={"GRIDSCRIBE_MODEL": 'a "b" <c>\n& d'},
        )  # fmt: skip
    with rasterio.open(tmp_path / "mask.tif") as file:
        assert file.tags()["GRIDSCRIBE_MODEL"] == 'a "b" <c>\n& d'
        assert file.tags(1) == {"CLASS_0": "other", "CLASS_1": "sol & <eau>", "CLASS_3": "Gebäude"}
        assert file.colormap(1)[3] == (255, 0, 7, 255)
        assert file.colormap(1)[1] == (200, 100, 50, 255)
        assert file.colormap(1)[255][3] == 0
        assert file.descriptions == ("mask",)
    with rasterio.open(tmp_path / "confidence.tif") as file:
        assert file.scales[0] * 254 == pytest.approx(1)
        assert file.colorinterp[0].name == "gray"
    with rasterio.open(tmp_path / "height.tif") as file:
        assert (file.scales, file.offsets, file.units) == ((0.01,), (0.0,), ("m",))
    assert not list(tmp_path.glob("*.aux.xml"))


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (None, None),
        ((0.3, 0.1, 10.0, 0.1, -0.3, 20.0), "EPSG:25832"),  # rotated
        ((0.5, 0.0, 10.0, 0.0, 0.5, 20.0), "EPSG:25832"),  # south-up
        ((1e-5, 0.0, 5.0, 0.0, -1e-5, 50.0), "EPSG:4326"),
        ((0.1, 0.0, 1.0, 0.0, -0.1, 2.0), None),
        (UTM, 'PROJCS["odd",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
         'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",1],'
         'PARAMETER["central_meridian",12.5],PARAMETER["scale_factor",0.9999],PARAMETER["false_easting",7],'
         'PARAMETER["false_northing",9],UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'),
    ],
)  # fmt: skip
def test_place_on_earth(tmp_path: Path, transform: tuple[float, ...] | None, crs: str | None) -> None:
    grid = Grid(40, 50, transform, crs)  # type: ignore[arg-type]
    encode_cog(tmp_path / "a.tif", MASK, raster(MASK, grid.shape), grid, classes=CLASSES)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert tuple(file.transform[:6]) == (transform or (1, 0, 0, 0, 1, 0))
        if crs is None:
            assert file.crs is None
        else:
            assert file.crs == rasterio.crs.CRS.from_user_input(crs)


def test_a_crs_without_geotiff_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no GeoTIFF keys"):
        encode_cog(
            tmp_path / "a.tif", MASK, raster(MASK, (4, 4)),
            Grid(4, 4, UTM, "+proj=ob_tran +o_proj=longlat +o_lat_p=30 +o_lon_p=10 +lon_0=5 +datum=WGS84"),
        )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_blocks_of_nodata_are_not_stored(tmp_path: Path, kind: RasterKind) -> None:
    empty = np.full((1500, 1200), kind.nodata, kind.dtype)
    encode_cog(tmp_path / "empty.tif", kind, empty, Grid(1500, 1200, UTM, "EPSG:32633"))
    assert (tmp_path / "empty.tif").stat().st_size < 4096
    some = empty.copy()
    some[1100, 1000] = 5
    encode_cog(tmp_path / "some.tif", kind, some, Grid(1500, 1200, UTM, "EPSG:32633"))
    for name, array in (("empty", empty), ("some", some)):
        assert cog_validate(str(tmp_path / f"{name}.tif"), strict=True, quiet=True) == (True, [], [])
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            assert np.array_equal(file.read(1), array)


def test_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cog_file, "CLASSIC_LIMIT", 1000)
    array = raster(HEIGHT, (1100, 600))
    encode_cog(tmp_path / "big.tif", HEIGHT, array, Grid(1100, 600, UTM, "EPSG:32633"))
    assert (tmp_path / "big.tif").read_bytes()[:4] == b"II+\0"
    assert cog_validate(str(tmp_path / "big.tif"), strict=True, quiet=True) == (True, [], [])
    with rasterio.open(tmp_path / "big.tif") as file:
        assert np.array_equal(file.read(1), array)
    assert_reads_as_gdal(tmp_path / "big.tif", reads=1)


def test_wrong_rows_are_refused(tmp_path: Path) -> None:
    writer = CogWriter(MASK, Grid(10, 8))
    writer.write_rows(0, np.zeros((4, 8), np.uint8))
    for row, rows in (
        (3, np.zeros((1, 8), np.uint8)),
        (4, np.zeros((1, 7), np.uint8)),
        (4, np.zeros((7, 8), np.uint8)),
    ):
        with pytest.raises(ValueError, match="expected rows from 4"):
            writer.write_rows(row, rows)
    with pytest.raises(ValueError, match="int64: expected uint8"):
        writer.write_rows(4, np.zeros((1, 8), np.int64))
    with pytest.raises(ValueError, match="4 of 10 rows"):
        writer.save(tmp_path / "a.tif")
    assert not (tmp_path / "a.tif").exists()


def test_memory_does_not_grow_with_the_height() -> None:
    """8192 x 8192 of all three kinds in a process of its own: less than 200 MB over what the libraries take."""
    code = """
        import resource, sys, tempfile, numpy as np
        from pathlib import Path
        from gridscribe.pipelines.cog import KINDS, CogWriter
        from gridscribe.values import Grid
        size = 8192
        with tempfile.TemporaryDirectory() as folder:
            writers = [CogWriter(kind, Grid(size, size), scratch=Path(folder)) for kind in KINDS.values()]
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            rng = np.random.default_rng(0)
            noise = {kind: rng.integers(0, 9, (384, size)).astype(kind.dtype) for kind in KINDS.values()}
            for row in range(0, size, 384):
                for writer, rows in zip(writers, noise.values()):
                    writer.write_rows(row, rows[: size - row])
            for i, writer in enumerate(writers):
                writer.save(Path(folder) / str(i))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 200e6


def test_a_small_tile_is_quick(tmp_path: Path) -> None:
    grid = Grid(1024, 1024, UTM, "EPSG:32633")
    arrays = [(kind, raster(kind, grid.shape)) for kind in KINDS.values()]
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_SELF)
        for kind, array in arrays:
            encode_cog(tmp_path / "a.tif", kind, array, grid)
        after = resource.getrusage(resource.RUSAGE_SELF)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.12  # 0.035 s of processor time where it was written; a busy machine gets some slack


def assert_reads_as_gdal(path: Path, reads: int | None = None) -> None:
    """Random windows through `cog_reader` equal rasterio's, and the header costs `reads` requests."""
    data = path.read_bytes()
    requests = []

    def read(start: int, length: int) -> bytes:
        requests.append((start, length))
        return data[start : start + length]

    header = read_header(read, path.name)
    if reads is not None:
        assert len(requests) == reads
    rng = np.random.default_rng(1)
    with rasterio.open(path) as file:
        assert (header.height, header.width, header.nodata) == (file.height, file.width, file.nodata)
        assert str(header.dtype) == file.dtypes[0]
        for _ in range(30):
            row, col = int(rng.integers(header.height)), int(rng.integers(header.width))
            across, down = col // header.block_width, row // header.block_height
            k = down * header.blocks_across + across
            block = header.decode(data[header.offsets[k] : header.offsets[k] + header.counts[k]])
            window = RioWindow(across * BLOCK, down * BLOCK, BLOCK, BLOCK).intersection(
                RioWindow(0, 0, file.width, file.height)
            )
            assert np.array_equal(block[: window.height, : window.width], file.read(1, window=window))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_reader_agrees_with_gdal(tmp_path: Path, kind: RasterKind) -> None:
    encode_cog(tmp_path / "a.tif", kind, raster(kind, (1700, 2300)), Grid(1700, 2300, UTM, "EPSG:32633"),
               classes=CLASSES if kind is MASK else ())  # fmt: skip
    assert_reads_as_gdal(tmp_path / "a.tif", reads=1)
    header = read_header(lambda start, length: (tmp_path / "a.tif").read_bytes()[start : start + length], "a")
    assert header.class_names == ({0: "other", 1: "sol & <eau>", 3: "Gebäude"} if kind is MASK else {})


def test_reader_reads_gdals_own_cogs(tmp_path: Path) -> None:
    array = raster(HEIGHT, (1300, 900))
    with rasterio.open(
        tmp_path / "b.tif", "w", driver="COG", height=1300, width=900, count=1, dtype="int16", nodata=-32768,
        compress="zstd", predictor=2, crs="EPSG:32633", transform=rasterio.Affine(*UTM),
    ) as file:  # fmt: skip
        file.write(array, 1)
    assert_reads_as_gdal(tmp_path / "b.tif", reads=1)


def test_a_long_header_takes_a_second_request() -> None:
    """Only as much more as is missing, in steps of the read-ahead."""
    grid = Grid(BLOCK * 100, BLOCK * 100)  # 10,000 blocks: 80 kB of offsets and sizes
    writer = CogWriter(MASK, grid)
    levels = [level.finished() for level in writer._levels]
    sized = [cog_file.Level(x.shape, BLOCK, [9] * (-(-x.shape[0] // BLOCK)) ** 2, x.data) for x in levels]
    head = cog_file._head(sized, writer._tags, cog_file.Variant(False), 200_000)
    requests = []

    def read(start: int, length: int) -> bytes:
        requests.append((start, length))
        return head.ljust(300_000, b"\0")[start : start + length]

    header = read_header(read, "wide")
    assert len(header.offsets) == 10_000
    assert len(requests) <= 3
    assert all(length % READ_AHEAD == 0 for _, length in requests)


def damaged(good: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"hello, world",
        "big-endian": b"MM\0*" + good[4:],
        "cut in the directory": good[:300],
        "directory far away": good[:4] + (2**31).to_bytes(4, "little") + good[8:],
        "16 bands": good.replace(b"\x15\x01\x03\x00\x01\x00\x00\x00\x01", b"\x15\x01\x03\x00\x01\x00\x00\x00\x10"),
        "jpeg": good.replace(b"\x03\x01\x03\x00\x01\x00\x00\x00\x50\xc3", b"\x03\x01\x03\x00\x01\x00\x00\x00\x07\x00"),
        "metadata": good.replace(b"<GDALMetadata>", b"<GDALMetadat<>"),
    }


@pytest.mark.parametrize("what", damaged(b"x" * 400))
def test_what_is_not_ours_is_refused(tmp_path: Path, what: str) -> None:
    encode_cog(tmp_path / "a.tif", MASK, raster(MASK, (600, 500)), Grid(600, 500), classes=CLASSES)
    good = (tmp_path / "a.tif").read_bytes()
    bad = damaged(good)[what]
    assert bad != good
    with pytest.raises(LayoutError, match=r"a\.tif"):
        read_header(lambda start, length: bad[start : start + length], "a.tif")


def test_a_damaged_block_is_refused(tmp_path: Path) -> None:
    encode_cog(tmp_path / "a.tif", MASK, raster(MASK, (600, 500)), Grid(600, 500))
    data = (tmp_path / "a.tif").read_bytes()
    header = read_header(lambda start, length: data[start : start + length], "a.tif")
    block = data[header.offsets[0] : header.offsets[0] + header.counts[0]]
    for bad in (block[:-9], b"\0" * len(block)):
        with pytest.raises(LayoutError, match="damaged"):
            header.decode(bad)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**31), flips=st.integers(1, 12))
def test_fuzzed_headers_never_escape(seed: int, flips: int) -> None:
    """Any bytes: a header or `LayoutError`, nothing else."""
    data = bytearray(FUZZ)
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, 1500, flips):
        data[at] = rng.integers(256)
    with contextlib.suppress(LayoutError):
        read_header(lambda start, length: bytes(data[start : start + length]), "fuzz")


def _fuzz_bytes() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        encode_cog(path, MASK, raster(MASK, (600, 500)), Grid(600, 500, UTM, "EPSG:32633"), classes=CLASSES)
        return path.read_bytes()


FUZZ = _fuzz_bytes()


def test_vrt_works_on_object_storage(tmp_path: Path, s3_uri: str) -> None:
    """GDAL opens the VRT and its parts under /vsis3/."""
    grid = Grid(600, 700, UTM, "EPSG:32633")
    array = raster(MASK, grid.shape)
    store = open_store(s3_uri)
    boxes = [Window(0, 0, 600, 512), Window(0, 512, 600, 188)]
    for i, box in enumerate(boxes):
        part = Grid(box.height, box.width, grid.window_transform(box), grid.crs)
        encode_cog(tmp_path / f"{i}.tif", MASK, array[box.slices()], part, classes=CLASSES)
        store.put(f"masks/image/{i}.tif", tmp_path / f"{i}.tif")
    store.put(
        "masks/image.vrt", write_vrt(MASK, grid, [(f"image/{i}.tif", box) for i, box in enumerate(boxes)], CLASSES)
    )
    with rasterio.open(f"{s3_uri}/masks/image.vrt") as file:
        assert np.array_equal(file.read(1), array)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_vrt_joins_the_parts(tmp_path: Path, kind: RasterKind) -> None:
    grid = Grid(1300, 1500, UTM, "EPSG:32633")
    array = raster(kind, grid.shape, holes=False)
    classes = CLASSES if kind is MASK else ()
    boxes = [Window(0, 0, 512, 1024), Window(0, 1024, 512, 476), Window(512, 0, 788, 1024)]  # one box is missing
    (tmp_path / "image").mkdir()
    expected = np.full_like(array, kind.nodata)
    parts = []
    for i, box in enumerate(boxes):
        part_grid = Grid(box.height, box.width, grid.window_transform(box), grid.crs)
        encode_cog(tmp_path / "image" / f"{i}.tif", kind, array[box.slices()], part_grid, classes=classes)
        expected[box.slices()] = array[box.slices()]
        parts.append((f"image/{i}.tif", box))
    data = write_vrt(kind, grid, parts, classes)
    assert data == write_vrt(kind, grid, parts[::-1], classes)
    (tmp_path / "image.vrt").write_bytes(data)
    with rasterio.open(tmp_path / "image.vrt") as file:
        assert np.array_equal(file.read(1), expected)
        assert file.nodata == kind.nodata
        assert file.crs == "EPSG:32633"
        assert tuple(file.transform[:6]) == UTM
        assert file.overviews(1) == [2, 4]
        if kind is MASK:
            assert file.colormap(1)[3] == (255, 0, 7, 255)
        else:
            assert file.scales == (kind.scale,)
        half = file.read(1, out_shape=(650, 750))
    assert np.array_equal(half[:200, :200], halve_slowly(array[:400, :400], kind))
    assert ("Gebäude" in data.decode()) == (kind is MASK)
