"""Inputs of every kind: folders, globs, lists, single files, STAC items, and the same file by several ways."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gridscribe.errors import UsageError
from gridscribe.ingest.discover import Discovery, InputOptions, discover
from gridscribe.ingest.listing import _glob_pattern
from gridscribe.ingest.raster import open_raster
from tests import hostile


def find(*uris: object, **options: Any) -> Discovery:
    return discover([str(uri) for uri in uris], InputOptions(**options))


def names(found: Discovery) -> list[str]:
    return [image.source for image in found.images]


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """`a/`: two pairs; `b/c/`: one pair under bare names, and text."""
    root = tmp_path / "tiles"
    for seed, (rgb, ndsm) in enumerate(
        [("a/x_rgb.tif", "a/x_ndsm.tif"), ("a/y_rgb.tif", "a/y_ndsm.tif"), ("b/c/rgb.tif", "b/c/chm.tif")]
    ):
        data = hostile.pair(seed)
        (root / rgb).parent.mkdir(parents=True, exist_ok=True)
        (root / rgb).write_bytes(data[0])
        (root / ndsm).write_bytes(data[1])
    (root / "b/c/notes.txt").write_text("hello")
    return root


def test_a_folder_is_searched_in_order(tiles: Path) -> None:
    found = find(tiles)
    assert names(found) == ["a/x_rgb.tif", "a/y_rgb.tif", "b/c/rgb.tif"]
    assert [image.image_id[:-9] for image in found.images] == ["a-x", "a-y", "b-c"]
    assert [account.error for account in found.accounts] == ["format"]


def test_ids_are_the_same_in_a_copy_made_later_and_change_with_content_and_place(tiles: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(tiles, copy)
    for path in copy.rglob("*.tif"):
        os.utime(path, (1, 1))
    ids = {image.source: image.image_id for image in find(tiles).images}
    assert {image.source: image.image_id for image in find(copy).images} == ids
    data = bytearray((copy / "a/x_ndsm.tif").read_bytes())
    data[-5] ^= 1  # the height alone, its size the same
    (copy / "a/x_ndsm.tif").write_bytes(data)
    (copy / "b/c").rename(copy / "b/d")
    changed = {image.source: image.image_id for image in find(copy).images}
    assert changed["a/x_rgb.tif"] != ids["a/x_rgb.tif"]
    assert changed["a/y_rgb.tif"] == ids["a/y_rgb.tif"]
    assert changed["b/d/rgb.tif"][-8:] != ids["b/c/rgb.tif"][-8:]


def test_large_files_are_identified_by_samples_that_see_head_tail_and_middle(tiles: Path) -> None:
    from gridscribe.ingest.bytesio import LocalRanges
    from gridscribe.ingest.identity import SAMPLE_BLOCK, content_digest

    path = tiles / "large.bin"
    data = bytearray(np.random.default_rng(0).bytes(3 << 20))
    seen = set()
    for change in (None, 0, len(data) - 1, (1 << 19) + SAMPLE_BLOCK // 2, 5):
        if change is not None:
            data[change] ^= 1
        path.write_bytes(data)
        ranges = LocalRanges(str(path))
        seen.add(content_digest(ranges, 1 << 20))
        whole = content_digest(ranges, 1 << 30)
        assert whole == content_digest(ranges, 1 << 30, head=ranges.fetch(0, 100))
        ranges.close()
    assert len(seen) == 5


def test_globs_and_single_files_pair_and_are_named_by_themselves(tiles: Path) -> None:
    assert names(find(tiles / "a" / "*.tif")) == ["x_rgb.tif", "y_rgb.tif"]
    assert names(find(tiles / "a" / "x_*.tif")) == ["x_rgb.tif"]
    assert names(find(tiles / "**" / "*.tif")) == ["x_rgb.tif", "y_rgb.tif", "c/rgb.tif"]
    assert names(find(tiles / "b/c/rgb.tif", tiles / "b/c/chm.tif")) == ["c/rgb.tif"]
    apart = find(tiles / "a/*_rgb.tif", tiles / "a/*_ndsm.tif")
    assert names(apart) == ["x_rgb.tif", "y_rgb.tif"]
    assert [i.image_id for i in apart.images] == [i.image_id for i in find(tiles / "a" / "*.tif").images]
    lonely = find(tiles / "a/x_rgb.tif")
    assert not lonely.images
    assert "no height" in lonely.accounts[0].reason
    assert names(find(f"file://{tiles}/a")) == ["x_rgb.tif", "y_rgb.tif"]


def test_a_file_named_twice_counts_once(tiles: Path) -> None:
    found = find(tiles, tiles / "a", tiles / "a/x_rgb.tif", tiles / "a" / "*.tif")
    assert names(found) == ["a/x_rgb.tif", "a/y_rgb.tif", "b/c/rgb.tif"]
    assert len(found.accounts) == 1


def test_the_same_image_in_two_archives_is_done_once(tiles: Path, tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(tiles / "a", "a")
    found = find(tmp_path / "one.tar", tmp_path / "two.tar")
    assert names(found) == ["one.tar!/a/x_rgb.tif", "one.tar!/a/y_rgb.tif"]
    assert [(account.state, account.error) for account in found.accounts] == [("skipped", "duplicate")] * 2
    assert "one.tar!/a/x_rgb.tif" in found.accounts[0].reason
    inside = find(tmp_path)
    assert len(inside.images) == 3 + 2  # the folder's own, and those of one archive: other paths, other images


def test_lists_of_every_kind(tiles: Path, tmp_path: Path) -> None:
    lines = ["tiles/a/x_rgb.tif", "tiles/a/x_ndsm.tif", str(tiles / "b"), "tiles/nothing_rgb.tif"]
    (tmp_path / "list.txt").write_text("# tiles\n\n" + "\n".join(lines) + "\n")
    (tmp_path / "plain.csv").write_text("\n".join(lines))
    (tmp_path / "named.csv").write_text("id,uri\n" + "\n".join(f"{i},{line}" for i, line in enumerate(lines)))
    (tmp_path / "headed.csv").write_text("location,quality\n" + "\n".join(f"{line},good" for line in lines))
    pq.write_table(pa.table({"n": range(4), "uri": lines}), tmp_path / "named.parquet")
    pq.write_table(pa.table({"where": lines}), tmp_path / "first.parquet")
    for name in ("list.txt", "plain.csv", "named.csv", "headed.csv", "named.parquet", "first.parquet"):
        found = find(tmp_path / name)
        assert names(found) == ["c/rgb.tif", "x_rgb.tif"], name
        (failed,) = [account for account in found.accounts if account.state == "failed"]
        assert "nothing_rgb.tif" in failed.reason


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("bad.parquet", b"not parquet", "list of URIs"),
        ("bad.txt", b"\xff\xfe\xfa", "list of URIs"),
        ("bad.json", b"{", "not JSON"),
        ("bad.json", b'{"a": 1}', "neither a STAC item"),
        ("bad.json", b'{"type": "Catalog"}', "Catalog"),
        ("bad.json", b"[" * 100_000, "not JSON"),
    ],
)
def test_documents_that_cannot_be_read_are_a_mistake_of_the_user(
    tmp_path: Path, name: str, content: bytes, word: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=word):
        find(tmp_path / name)


def test_uris_that_lead_nowhere_are_a_mistake_of_the_user(tmp_path: Path) -> None:
    for uri in (tmp_path / "nothing", tmp_path / "*.tif", "ftp://host/x.tif"):
        with pytest.raises(UsageError):
            find(uri)


def test_links_are_followed_to_files_and_not_round_in_circles(tiles: Path) -> None:
    (tiles / "a/again").symlink_to(tiles)
    (tiles / "b/z_rgb.tif").symlink_to(tiles / "a/x_rgb.tif")
    (tiles / "b/z_ndsm.tif").symlink_to(tiles / "a/x_ndsm.tif")
    (tiles / "b/gone_rgb.tif").symlink_to(tiles / "nowhere")
    found = find(tiles)
    assert names(found) == ["a/x_rgb.tif", "a/y_rgb.tif", "b/z_rgb.tif", "b/c/rgb.tif"]
    (failed,) = [account for account in found.accounts if account.state == "failed"]
    assert failed.source.endswith("gone_rgb.tif")


def test_names_of_any_kind_are_read(tmp_path: Path) -> None:
    root = tmp_path / "a,b #1 [x]%20?"
    root.mkdir()
    for stem in ("tile, 1", "größe", "t#2", "50%", "q?x", "a!b", "[z]"):
        rgb, ndsm = hostile.pair(0)
        (root / f"{stem}_rgb.tif").write_bytes(rgb)
        (root / f"{stem}_ndsm.tif").write_bytes(ndsm)
    (root / os.fsdecode(b"caf\xe9_rgb.tif")).write_bytes(b"x")
    found = find(root)
    assert len(found.images) == 7
    assert len({image.image_id for image in found.images}) == 7
    for image in found.images:
        assert image.image_id.isascii()
        with open_raster(image) as reader:
            assert reader.read(image.grid.window).valid.all()
    (account,) = found.accounts
    assert "UTF-8" in account.reason
    account.source.encode()


def item(identifier: str, assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "stac_version": "1.0.0", "id": identifier, "properties": properties, "assets": assets}


def test_stac_items_name_their_assets_and_their_time(tiles: Path) -> None:
    by_key = item(
        "k", {"visual": {"href": "a/x_rgb.tif"}, "nDSM": {"href": "./a/x_ndsm.tif"}}, datetime="2020-02-03T04:05:06Z"
    )
    by_role = item(
        "r",
        {"p": {"href": "a/y_rgb.tif", "roles": ["data", "rgb"]}, "q": {"href": "a/y_ndsm.tif", "roles": ["height"]}},
    )
    by_title = item(
        "t",
        {
            "p": {"href": "b/c/rgb.tif", "title": "RGB, 20 cm"},
            "q": {"href": f"file://{tiles}/b/c/chm.tif", "title": "CHM 2019"},
        },
        datetime=None,
        start_datetime="2019-01-01T00:00:00Z",
    )
    lonely = item("lonely", {"rgb": {"href": "a/x_rgb.tif"}, "thumbnail": {"href": "a/t.png"}})
    gone = item("gone", {"rgb": {"href": "a/gone.tif"}, "chm": {"href": "a/x_ndsm.tif"}})
    nothing = item("nothing", {"metadata": {"href": "a/x.xml"}})
    by_role["collection"] = "north"
    items = [by_key, by_role, by_title, lonely, gone, nothing, "no item"]
    (tiles / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    found = find(tiles / "items.json")
    assert [(image.image_id[:-9], image.datetime) for image in found.images] == [
        ("k", "2020-02-03T04:05:06Z"),
        ("north-r", None),
        ("t", "2019-01-01T00:00:00Z"),
    ]
    assert [image.rgb.uri for image in found.images] == [
        str(tiles / p) for p in ("a/x_rgb.tif", "a/y_rgb.tif", "b/c/rgb.tif")
    ]
    with open_raster(found.images[2]) as reader:
        assert reader.read(found.images[2].grid.window).valid.all()
    reasons = {account.source.rpartition("#")[2]: account for account in found.accounts}
    assert "no height" in reasons["lonely"].reason
    assert "gone.tif" in reasons["gone"].reason
    assert "metadata" in reasons["nothing"].reason
    assert all(account.state == "failed" for account in found.accounts)
    assert len(found.accounts) == 4
    (tiles / "one.json").write_text(json.dumps(by_key))
    assert find(tiles / "one.json").images[0].image_id == found.images[0].image_id


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.tif", ["a.tif"], ["b/a.tif", "a.tiff"]),
        ("**/*.tif", ["a.tif", "b/c/a.tif"], ["a.png"]),
        ("a?/[xy]_*.tif", ["ab/x_1.tif"], ["a/x_1.tif", "ab/z_1.tif", "ab/c/x_1.tif"]),
        ("[!x]*", ["y"], ["x", "y/z"]),
        ("**", ["a", "a/b"], []),
        ("a+(b).tif", ["a+(b).tif"], ["aab.tif"]),
    ],
)
def test_patterns_of_remote_globs(pattern: str, yes: list[str], no: list[str]) -> None:
    compiled = _glob_pattern(pattern.split("/"))
    assert all(compiled.fullmatch(key) for key in yes)
    assert not any(compiled.fullmatch(key) for key in no)


def test_progress_is_told(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / f"{number}.md").touch()
    heard: list[tuple[str, int]] = []
    discover([str(tmp_path)], InputOptions(), progress=lambda what, count: heard.append((what, count)))
    assert heard[-1] == ("looking at files", 512)
