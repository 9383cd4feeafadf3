"""Opening raster files with GDAL: one driver chosen by the file's first bytes, bounded caches, errors that name it.

Formats that name other files (VRT, WMS ...) are never opened, nor are files beside the one that is asked for
(`.aux.xml`, `.ovr`, world files): an archive from elsewhere must not make this program read what it was not pointed at.
"""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

import numpy as np
import pyproj
import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL says; some of rasterio's properties let it through as it is
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.env import set_gdal_config
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from gridscribe.errors import UnreadableError
from gridscribe.ingest.bytesio import RangeFile, Ranges
from gridscribe.ingest.info import Affine6, RasterInfo
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.times import from_tiff_tag
from gridscribe.values import Window

# images without a place on Earth are inputs like others
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_MAGIC = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
)


def driver_of(head: bytes) -> str | None:
    """GDAL's driver for a file that begins so, None where it is none of the formats that are read."""
    for magic, driver in _MAGIC:
        if head.startswith(magic):
            return driver
    return "WEBP" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


@contextmanager
def gdal_settings() -> Iterator[None]:
    """GDAL's settings while ingest calls it: one thread, no look at neighbouring files."""
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_NUM_THREADS=1, GDAL_PAM_ENABLED="NO"):
        yield


class _BlockCache:
    """The size of GDAL's block cache, which all files of a process share.

    Small, as tiles are decoded once by readers that go row by row. Files in strips as wide as their image need more:
    room for the rows of one window, or every window would decode them anew.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0

    def change(self, strips: int, limits: Limits) -> None:
        """Count files in strips that need `strips` bytes more (or less), and size the cache accordingly."""
        with self._lock:
            self._wanted += strips
            set_gdal_config("GDAL_CACHEMAX", limits.gdal_cache + min(self._wanted, limits.gdal_cache_strips))


_block_cache = _BlockCache()
STRIP_ROWS = 640  # rows of the largest usual window, and a strip more


def _strip_bytes(dataset: Any) -> int:
    """Decoded size of the rows that one window takes from a file in strips; 0 for tiles and small images."""
    rows, cols = dataset.block_shapes[0]
    if cols < dataset.width or rows >= dataset.height:
        return 0
    return min(STRIP_ROWS, dataset.height) * dataset.width * sum(np.dtype(t).itemsize for t in dataset.dtypes)


_openers: dict[str, Callable[[], RangeFile]] = {}
"""What GDAL may read through Python, by the name that GDAL knows it by."""


def _open_file_object(name: str, mode: str = "rb") -> RangeFile:  # noqa: ARG001 - GDAL's plugin passes a mode
    """The file behind a name. One function serves all files: GDAL's side registers functions, and keeps them."""
    return _openers[name]()


class GdalFile:
    """One open file; owns `ranges`, its bytes. Not thread-safe, as GDAL's datasets are not.

    GDAL reads local bytes itself; others through a Python file, block by block, as it needs them.
    """

    def __init__(self, ranges: Ranges, driver: str, limits: Limits) -> None:
        self._ranges, self._limits = ranges, limits
        self._files: list[RangeFile] = []
        self._key = f"gridscribe-{uuid.uuid4().hex}"
        self._dataset: Any = None
        self._strips = 0
        try:
            with self._gdal("cannot be opened"):
                self._dataset = self._open(driver)
                self._strips = _strip_bytes(self._dataset)
                _block_cache.change(self._strips, limits)
                self.info = _info(self._dataset)
                self.nodata: tuple[float | None, ...] = tuple(self._dataset.nodatavals)
                self.scales: tuple[float, ...] = tuple(self._dataset.scales)
                self.offsets: tuple[float, ...] = tuple(self._dataset.offsets)
                self._masked = any(MaskFlags.per_dataset in flags for flags in self._dataset.mask_flag_enums)
        except BaseException:
            self.close()
            raise

    @property
    def dataset(self) -> Any:
        """The open rasterio dataset, for readers that take one; to be used within `settings`, and not after `close`."""
        return self._dataset

    def settings(self) -> AbstractContextManager[None]:
        """GDAL's settings and errors while `dataset` is read: raises as `read` does."""
        return self._gdal("pixels cannot be read")

    def read(self, bands: Sequence[int], window: Window) -> np.ndarray:
        """Stored values `[len(bands), h, w]` of a window inside the image.

        Raises UnreadableError where pixels are damaged, ChangedError where the file is not what it was.
        """
        box = RasterioWindow(window.col, window.row, window.width, window.height)
        with self._gdal("pixels cannot be read"):
            data: np.ndarray = self._dataset.read(list(bands), window=box)
        self._ranges.verify()
        return data

    def opaque(self, window: Window) -> np.ndarray | None:
        """bool `[h, w]`: where the file's alpha band or mask shows a pixel; None where it has neither."""
        if not self._masked:
            return None
        box = RasterioWindow(window.col, window.row, window.width, window.height)
        with self._gdal("its mask cannot be read"):
            mask: np.ndarray = self._dataset.read_masks(1, window=box) > 0
        return mask

    def close(self) -> None:
        """Let go of the file."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None
            _block_cache.change(-self._strips, self._limits)
        _openers.pop(self._key, None)
        self._ranges.close()

    def _open(self, driver: str) -> Any:
        local = self._ranges.local
        if local is not None:
            path, start, size = local
            return rasterio.open(f"/vsisubfile/{start}_{size},{path}", driver=driver)
        _openers[self._key] = self._file_object
        return rasterio.open(self._key, driver=driver, opener=_open_file_object)

    def _file_object(self) -> RangeFile:
        file = RangeFile(self._ranges, quiet=True)
        self._files.append(file)
        return file

    @contextmanager
    def _gdal(self, what: str) -> Iterator[None]:
        """Settings and errors of a call of GDAL. What stopped reading in Python comes first: GDAL saw only its effect."""
        try:
            with gdal_settings():
                yield
        except (RasterioError, CPLE_BaseError, CRSError, ValueError, OSError) as exc:
            self._raise_read_error()
            raise UnreadableError(f"{self._ranges.name}: {what}: {exc.__cause__ or exc}") from exc
        self._raise_read_error()

    def _raise_read_error(self) -> None:
        for file in self._files:
            if file.error is not None:
                error, file.error = file.error, None
                raise error

    def __enter__(self) -> GdalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _info(dataset: Any) -> RasterInfo:
    alpha = [i + 1 for i, color in enumerate(dataset.colorinterp) if color == ColorInterp.alpha]
    identity = dataset.transform.is_identity
    stamp = dataset.tags().get("TIFFTAG_DATETIME")
    types = set(dataset.dtypes)
    return RasterInfo(
        driver=dataset.driver,
        height=dataset.height,
        width=dataset.width,
        count=dataset.count,
        dtype=types.pop() if len(types) == 1 else "mixed",
        transform=None if identity else _affine(dataset.transform),
        crs=crs_text(dataset.crs),
        alpha=alpha[0] if alpha else None,
        descriptions=tuple(text or "" for text in dataset.descriptions),
        datetime=from_tiff_tag(stamp) if stamp else None,
    )


def _affine(transform: Any) -> Affine6:
    return tuple(float(v) for v in transform[:6])  # type: ignore[return-value]


_crs_texts: dict[str, str | None] = {}
_crs_lock = threading.Lock()


def crs_text(crs: CRS | None) -> str | None:
    """ "EPSG:n" where PROJ finds that code's definition equivalent, else its WKT, so that legacy text is never taken for another.

    A compound CRS (map plus heights) is reduced to its map part: heights are handled as numbers.
    """
    if crs is None or not crs:
        return None
    wkt = crs.wkt
    with _crs_lock:
        if wkt not in _crs_texts:
            _crs_texts[wkt] = _horizontal(crs)
        return _crs_texts[wkt]


def _horizontal(crs: CRS) -> str | None:
    try:
        whole = pyproj.CRS.from_wkt(crs.to_wkt(version="WKT2_2019"))
    except (CRSError, pyproj.exceptions.CRSError):
        return None
    if whole.is_compound:
        whole = whole.sub_crs_list[0]
    elif len(whole.axis_info) == 3 and whole.is_geographic:
        whole = whole.to_2d()
    if whole.is_engineering or not (whole.is_projected or whole.is_geographic or whole.is_bound):
        return None  # a local grid: coordinates without a place on Earth
    code = whole.to_epsg(min_confidence=70)
    if code is not None:
        return f"EPSG:{code}"
    return str(CRS.from_wkt(whole.to_wkt()).wkt)
