"""The images table: rows back as they went, bytes that depend on rows alone, and other programs' readers."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import LayoutError
from gridscribe.tables import ImageRow, images_schema, images_table, read_images, read_table, write_images, write_table
from gridscribe.values import Grid, Window

INT32 = st.integers(0, 2**31 - 1)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(string.printable, max_size=12)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
ROWS = st.builds(
    ImageRow,
    image=st.text(string.ascii_lowercase, min_size=1, max_size=4),
    source=TEXT,
    page=st.integers(0, 3),
    height=st.integers(1, 2**31 - 1),
    width=st.integers(1, 2**31 - 1),
    crs=st.none() | TEXT,
    transform=st.none() | st.tuples(*[FLOAT] * 6),
    footprint=st.none() | st.just(shapely.box(0, 0, 1, 1).wkb),
    datetime=st.none() | TIMES,
    gsd=st.none() | FLOAT,
    box_row=INT32,
    box_col=INT32,
    box_height=INT32,
    box_width=INT32,
    mask=st.none() | TEXT,
    parent=st.none() | st.lists(st.integers(-1, 2**31 - 1), max_size=3).map(lambda v: np.array(v, "<i4").tobytes()),
    token_transform=st.none() | st.tuples(*[FLOAT] * 6),
    n_kept=INT32,
    valid_fraction=FLOAT,
    flags=st.lists(TEXT, max_size=3).map(tuple),
)


def row(**changes: Any) -> ImageRow:
    values: dict[str, Any] = {
        "image": "a-1",
        "source": "x.tif",
        "height": 10,
        "width": 20,
        "box_row": 0,
        "box_col": 0,
        "box_height": 10,
        "box_width": 20,
    }
    return ImageRow(**{**values, **changes})


def place(row: ImageRow) -> tuple[str, int, int, int]:
    return row.image, row.page, row.box_row, row.box_col


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, max_size=4, unique_by=place))
def test_rows_read_back(rows: list[ImageRow]) -> None:
    back = read_images(write_images(rows), "k")
    assert back == sorted(rows, key=place)
    for row in back:
        assert row.datetime is None or row.datetime.tzinfo is UTC


@settings(max_examples=25, deadline=None)
@given(st.lists(ROWS, max_size=4, unique_by=place), st.randoms())
def test_bytes_do_not_depend_on_the_order_of_rows(rows: list[ImageRow], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert write_images(shuffled) == write_images(rows)


def test_tables_from_before_there_were_tokens_read() -> None:
    """They had `parent` as binary, always null, and no `token_transform`."""
    rows = [row(image="a"), row(image="b")]
    now = images_table(rows)
    old = now.drop_columns(["token_transform", "height_code"]).set_column(
        now.column_names.index("parent"), pa.field("parent", pa.binary()), pa.nulls(2, pa.binary())
    )
    assert read_images(write_table(old), "k") == rows
    odd = now.set_column(now.column_names.index("width"), "width", pa.array(["x", "y"]))
    with pytest.raises(LayoutError, match=r"some/key.*version"):
        read_images(write_table(odd), "some/key")


def test_a_source_map_is_a_list_for_other_programs(tmp_path: Path) -> None:
    slots = np.array([0, 0, -1, 1], "<i4")
    Path(tmp_path / "i.parquet").write_bytes(write_images([row(parent=slots.tobytes()), row(image="b-2")]))
    with duckdb.connect() as db:
        found = db.execute("SELECT parent FROM read_parquet(?)", [str(tmp_path / "i.parquet")]).fetchall()
    assert found == [([0, 0, -1, 1],), (None,)]
    with pytest.raises(ValueError, match="multiple of 4"):
        write_images([row(parent=b"123")])


def test_an_empty_table_is_a_table() -> None:
    assert read_images(write_images([]), "k") == []


def test_geometry_of_a_row() -> None:
    placed = row(crs="EPSG:32631", transform=(1.0, 0.0, 5.0, 0.0, -1.0, 6.0), box_row=4, box_height=6)
    assert placed.grid == Grid(10, 20, (1.0, 0.0, 5.0, 0.0, -1.0, 6.0), "EPSG:32631")
    assert placed.box == Window(4, 0, 6, 20)
    assert row().grid == Grid(10, 20)


def test_times_are_stored_in_utc_and_need_a_zone() -> None:
    noon = datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    (back,) = read_images(write_images([row(datetime=noon)]), "k")
    assert back.datetime == datetime(2024, 5, 1, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        write_images([row(datetime=datetime(2024, 5, 1))])


def test_slices_of_a_table_have_bytes_of_their_own() -> None:
    table = images_table([row(image=f"i{n}") for n in range(10)])
    assert write_table(table.slice(3, 2)) == write_images([row(image="i3"), row(image="i4")])


def test_what_is_not_an_images_table_is_named() -> None:
    with pytest.raises(LayoutError, match=r"some/key.*Parquet"):
        read_images(b"PAR1 no", "some/key")
    short = images_table([row()]).select(["image", "source"])
    with pytest.raises(LayoutError, match="some/key"):
        read_images(write_table(short), "some/key")
    with pytest.raises(LayoutError, match="some/key"):
        read_table(write_images([row()])[:-30], "some/key")


def test_other_programs_read_it(tmp_path: Path) -> None:
    """DuckDB without any extension, geopandas and pandas."""
    box = shapely.box(2, 48, 3, 49)
    placed = row(footprint=box.wkb, crs="EPSG:4326", datetime=datetime(2024, 5, 1, tzinfo=UTC), flags=("resampled",))
    file = str(tmp_path / "images.parquet")
    Path(file).write_bytes(write_images([placed, row(image="b-2")]))
    with duckdb.connect() as db:
        db.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        found = db.execute("SELECT image, width, datetime IS NULL, flags FROM read_parquet(?)", [file]).fetchall()
        assert found == [("a-1", 20, False, ["resampled"]), ("b-2", 20, True, [])]
    frame = geopandas.read_parquet(file)
    assert frame.geometry.iloc[0].equals(box)
    assert frame.geometry.iloc[1] is None
    assert frame.crs == "OGC:CRS84"
    assert list(pd.read_parquet(file).columns) == images_schema().names
