"""Token tables: rows back as they went, row groups that keep to one image, few ranged reads, other programs' readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import layout
from gridscribe.commits import Commit, commit_item, put_objects, read_commits
from gridscribe.errors import LayoutError
from gridscribe.quantise import quantise
from gridscribe.store import Store, open_store
from gridscribe.tables import ImageRow, read_images, write_images
from gridscribe.token_reader import TokenTable, open_tokens, stream_tokens
from gridscribe.token_tables import TokenEntry, frame_of, token_columns, write_tokens
from gridscribe.tokens import TokenFrame, TokenGrid, join
from gridscribe.values import Window

DIM = 5


def tokens(
    frame: TokenFrame, keep: float, seed: int = 0, *, merging: bool = False, kind: Any = "int8", dim: int = DIM
) -> TokenGrid:
    """Random tokens of `frame` kept with chance `keep`; with `merging` the others go to a slot or nowhere."""
    rng = np.random.default_rng(seed)
    kept = rng.random(frame.cells) < keep
    index = frame.indices()[kept]
    parent = None
    if merging:
        parent = rng.integers(-1, len(index), frame.cells).astype(np.int32)
        parent[rng.random(frame.cells) < 0.3] = -1
        parent[kept] = np.arange(len(index))
    return TokenGrid(frame, index, parent, quantise(rng.normal(size=(len(index), dim)), kind))


def image_row(image: str, page: int, grid: TokenGrid) -> ImageRow:
    """The row of an image with these tokens, through the bytes of an images table."""
    row = ImageRow(
        image=image, source="x", page=page, height=9, width=9, box_row=0, box_col=0, box_height=9, box_width=9,
        **token_columns(grid),
    )  # fmt: skip
    (back,) = read_images(write_images([row]), "k")
    assert back == row
    return back


class Reads:
    """Ranges of bytes, and how often they were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, list[tuple[int, int]]()

    def __call__(self, start: int, length: int) -> bytes:
        self.asked.append((start, length))
        return self.data[start : start + length]


def opened(data: bytes) -> tuple[TokenTable, Reads]:
    reads = Reads(data)
    return TokenTable.open(reads, len(data), "some/key"), reads


FRAMES = st.builds(TokenFrame, st.integers(1, 6), st.integers(1, 6), st.just(4))
CASES = st.tuples(FRAMES, st.sampled_from([0.0, 0.4, 1.0]), st.integers(0, 99), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(CASES, max_size=4), st.sampled_from(["int8", "float16"]), st.integers(1, 7), st.randoms())
def test_tokens_read_back_by_image_and_by_pixel(cases: list[Any], kind: Any, rows: int, random: Any) -> None:
    grids = [tokens(frame, keep, seed, merging=merging, kind=kind) for frame, keep, seed, merging in cases]
    entries = [TokenEntry(f"i{n // 2}", n % 2, grid) for n, grid in enumerate(grids)]
    data = write_tokens(entries, DIM, kind, rows)
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert write_tokens(shuffled, DIM, kind, rows) == data
    table, reads = opened(data)
    for entry in entries:
        row = image_row(entry.image, entry.page, entry.grid)
        assert frame_of(row) == entry.grid.frame
        assert table.grid(reads, row) == entry.grid
        for cell in range(entry.grid.frame.cells):
            down, across = 4 * (cell // row.grid_w) + 3, 4 * (cell % row.grid_w)
            at, vector = table.at_pixel(reads, row, down, across)
            assert at == entry.grid.token_at(down, across)
            if at.slot is None:
                assert vector is None
            else:
                assert vector == entry.grid.vectors.take([at.slot])
    streamed = [(batch.image, batch.page, i) for batch in table.stream(reads) for i in batch.index.tolist()]
    assert streamed == [(e.image, e.page, i) for e in entries for i in e.grid.index.tolist()]


def test_row_groups_keep_to_one_image_and_page() -> None:
    frame = TokenFrame(40, 40, 16)
    entries = [TokenEntry(name, page, tokens(frame, 0.8, 1)) for name in ("b", "a") for page in (1, 0)]
    data = write_tokens(entries, DIM)
    file = pq.ParquetFile(pa.BufferReader(data))
    seen = []
    for number in range(file.num_row_groups):
        group = file.read_row_group(number).to_pandas()
        assert len(group) <= 1024
        assert group[["image", "page"]].drop_duplicates().shape[0] == 1
        assert (group["row"] * 40 + group["col"] == group["index"]).all()
        seen += list(zip(group["image"], group["page"], group["index"], strict=True))
    assert seen == sorted(seen)
    assert len(seen) == sum(len(entry.grid) for entry in entries)
    assert file.num_row_groups == 8


@pytest.mark.parametrize("merging", [False, True])
def test_a_pixel_costs_a_footer_and_one_row_group(merging: bool) -> None:
    frame = TokenFrame(128, 128, 16)
    grid = tokens(frame, 0.5, 2, merging=merging, dim=64)
    data = write_tokens([TokenEntry("a", 0, grid)], 64)
    row = image_row("a", 0, grid)
    table, reads = opened(data)
    assert len(reads.asked) == 1
    cells = [grid.token(int(index)) for index in frame.indices()]
    kept = next(at for at in cells if at.status == "kept")
    gone = next(at for at in cells if at.status == "dropped")
    for at, requests in ((kept, 1), (gone, 0 if merging else 1)):
        reads.asked.clear()
        assert table.at_pixel(reads, row, at.row * 16, at.col * 16)[0] == at
        assert len(reads.asked) == requests
        assert sum(length for _, length in reads.asked) < 1.1 * 1024 * (64 + 4)
    reads.asked.clear()
    assert table.grid(reads, row) == grid
    assert len(reads.asked) == 1
    reads.asked.clear()
    list(table.stream(reads, at_once=len(data) // 3))
    assert 3 <= len(reads.asked) <= 5


def test_a_large_footer_takes_one_more_read_and_small_tables_none_beside_it() -> None:
    grid = tokens(TokenFrame(30, 30, 8), 1.0)
    table, reads = opened(write_tokens([TokenEntry("a", 0, grid)], DIM, rows=4))
    assert reads.asked[0][1] == 64 * 1024
    assert len(reads.asked) == 2
    assert table.grid(reads, image_row("a", 0, grid)) == grid
    table, reads = opened(write_tokens([TokenEntry("a", 0, grid)], DIM))
    assert table.grid(reads, image_row("a", 0, grid)) == grid
    assert len(reads.asked) == 1


def test_blank_pages_and_items_without_tokens() -> None:
    blank = tokens(TokenFrame(3, 5, 28), 0.0)
    for entries in ([], [TokenEntry("doc", 0, blank)]):
        table, reads = opened(write_tokens(entries, DIM))
        assert table.footer.groups == ()
        assert list(table.stream(reads)) == []
        row = image_row("doc", 0, blank)
        assert table.grid(reads, row) == blank
        assert table.at_pixel(reads, row, 83, 0)[0].status == "dropped"
        with pytest.raises(ValueError, match="row 84"):
            table.at_pixel(reads, row, 84, 0)


def test_a_resampled_image_is_asked_in_its_own_pixels() -> None:
    frame = TokenFrame(4, 4, 4, transform=(8.0, 0.0, 0.0, 0.0, 8.0, 0.0))
    grid = tokens(frame, 1.0)
    table, reads = opened(write_tokens([TokenEntry("a", 0, grid)], DIM))
    assert table.at_pixel(reads, image_row("a", 0, grid), 31, 8)[0].index == 13


def test_boxes_of_two_items_join(tmp_path: Path) -> None:
    """Two items of one image, written apart, are the whole image's tokens."""
    whole = TokenFrame(4, 6, 16)
    parts = [tokens(whole.with_box(Window(0, col, 4, 3)), 0.6, col, merging=True) for col in (0, 3)]
    back = []
    for part in parts:
        table, reads = opened(write_tokens([TokenEntry("a", 0, part)], DIM))
        back.append(table.grid(reads, image_row("a", 0, part)))
    assert join(back) == join(parts)


def test_a_product_streams_from_any_store(output_uri: str) -> None:
    store = open_store(output_uri)
    expected = []
    for item in ("one", "two"):
        entries = [TokenEntry(f"{item}-{n}", 0, tokens(TokenFrame(40, 33, 8), 0.9, n)) for n in range(3)]
        records = put_objects(store, {layout.tokens_key("p", item): write_tokens(entries, DIM)})
        commit_item(store, Commit("p", item, tuple(records)))
        expected += [(e.image, i) for e in entries for i in e.grid.index.tolist()]
    batches = list(stream_tokens(store, sorted(read_commits(store, "p"), key=lambda commit: commit.item)))
    assert [(batch.image, i) for batch in batches for i in batch.index.tolist()] == expected
    assert max(len(batch.index) for batch in batches) == 1024
    key, size = records[0].key, records[0].size
    table, read = open_tokens(store, key, size)
    last = entries[-1]
    at, vector = table.at_pixel(read, image_row(last.image, 0, last.grid), 319, 263)
    assert at == last.grid.token_at(319, 263)
    assert vector == (None if at.slot is None else last.grid.vectors.take([at.slot]))


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_other_programs_read_it(tmp_path: Path, kind: Any) -> None:
    """DuckDB without any extension, and pandas."""
    grid = tokens(TokenFrame(3, 4, 16), 0.7, kind=kind)
    file = str(tmp_path / "tokens.parquet")
    Path(file).write_bytes(write_tokens([TokenEntry("a-1", 2, grid)], DIM, kind))
    with duckdb.connect() as db:
        db.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        query = 'SELECT image, page, "index", "row", col, embedding, scale FROM read_parquet(?)'
        found = db.execute(query, [file]).fetchall()
    assert [row[:5] for row in found] == [("a-1", 2, i, i // 4, i % 4) for i in grid.index.tolist()]
    back = np.array([np.array(row[5], np.float32) * np.float32(row[6]) for row in found])
    assert np.array_equal(back, grid.dense())
    frame = pd.read_parquet(file)
    assert np.array_equal(np.stack(frame["embedding"]) * frame["scale"].to_numpy(np.float32)[:, None], grid.dense())


def test_what_is_no_token_table_is_named() -> None:
    grid = tokens(TokenFrame(9, 9, 16), 1.0)
    data = write_tokens([TokenEntry("a", 0, grid)], DIM)
    for damaged in (b"", data[:-1], data[: len(data) // 2], b"PAR1" + b"\xff" * 30 + b"PAR1", data[:-12] + data[-8:]):
        with pytest.raises(LayoutError, match="some/key"):
            opened(damaged)
    with pytest.raises(LayoutError, match=r"some/key is not a token table"):
        opened(write_images([image_row("a", 0, grid)]))
    table, reads = opened(data)
    row = image_row("a", 0, grid)
    with pytest.raises(LayoutError, match=r"holds 81 tokens of image a, page 0, its images table says 80"):
        table.at_pixel(reads, replace(row, n_kept=80), 0, 0)
    with pytest.raises(LayoutError, match="no tokens of image a"):
        table.grid(reads, replace(row, patch=0))
    with pytest.raises(LayoutError, match="no tokens of image a"):
        table.at_pixel(reads, replace(row, patch=0), 0, 0)


def test_damaged_pages_raise_and_never_crash() -> None:
    """Cut and overwritten row groups behind a good footer: an error of ours, or vectors of the right shape."""
    big = tokens(TokenFrame(60, 60, 16), 1.0, dim=40)
    data = write_tokens([TokenEntry("a", 0, big)], 40)
    row, rng = image_row("a", 0, big), np.random.default_rng(0)
    table, _ = opened(data)
    refused = 0
    for _ in range(60):
        broken = bytearray(data)
        at = int(rng.integers(4, table.footer.groups[0].stop - 64))
        broken[at : at + 64] = rng.bytes(64)
        try:
            table.grid(Reads(bytes(broken)), row)
        except LayoutError:
            refused += 1
    assert refused > 0
    with pytest.raises(LayoutError, match="cut short"):
        table.grid(Reads(data[:5000]), row)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: write_tokens([TokenEntry("a", 0, g)] * 2, DIM), "image a, page 0 comes twice"),
        (lambda g: write_tokens([TokenEntry("a", 0, g)], 6), "int8 of 5, the table's are int8 of 6"),
        (lambda g: write_tokens([TokenEntry("a", 0, g)], DIM, "float16"), "the table's are float16"),
        (lambda g: write_tokens([TokenEntry("a", 0, g.with_vectors(g.dense()))], DIM), "not quantised"),
        (lambda g: write_tokens([], DIM, rows=1025), "1 to 1024 rows, not 1025"),
        (lambda g: write_tokens([], 0), "got 0"),
    ],
)
def test_what_cannot_be_written_is_named(make: Callable[[TokenGrid], bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(tokens(TokenFrame(2, 2, 16), 1.0))


def test_a_store_gives_what_the_reader_asks(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    grid = tokens(TokenFrame(2, 2, 16), 1.0)
    data = write_tokens([TokenEntry("a", 0, grid)], DIM)
    store.put("k.parquet", data)
    table, read = open_tokens(store, "k.parquet", len(data))
    assert table.grid(read, image_row("a", 0, grid)) == grid
