"""Whole jobs over the places and the inputs that users have: archives, S3, hostile members, the two real tiles."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import obstore
import pystac
import pytest
import rasterio
from obstore.store import S3Store
from rio_cogeo import cog_validate
from rio_tiler.io import Reader

from gridscribe import Client
from gridscribe.manifest import read_manifest, read_manifest_inputs
from gridscribe.store import open_store
from gridscribe.workers.run import RunRequest, RunResult, run_job
from tests.hostile import GOOD, pair, write_tar
from tests.s3server import S3Server
from tests.tiny import CLASSES, MASKS_JOB, tiny_package, tree_bytes, write_pair

RASTERS = Path(__file__).parents[2] / "shared" / "data" / "rasters"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_package(folder)
    return folder


def run(source: str | Path, out: str | Path, model: Path) -> RunResult:
    return run_job(RunRequest(MASKS_JOB, (str(source),), str(out), executor="local", overrides={"model": str(model)}))


def make_tar(folder: Path) -> Path:
    for k in range(3):
        write_pair(folder / "tiles", f"t{k}", 120, 140, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    path = folder / "tiles.tar"
    with tarfile.open(path, "w") as archive:
        for file in sorted((folder / "tiles").iterdir()):
            archive.add(file, file.name)
    return path


def test_archive_on_s3_gives_the_same_objects_as_on_disk(
    tmp_path: Path, model: Path, s3_env: S3Server, s3_uri: str
) -> None:
    archive = make_tar(tmp_path)
    local = run(archive, tmp_path / "out", model)
    bucket, _, prefix = s3_uri.removeprefix("s3://").partition("/")
    remote = S3Store(bucket, client_options={"allow_http": True}, virtual_hosted_style_request=False)
    obstore.put(remote, f"{prefix}/in/tiles.tar", archive.read_bytes())
    found = run(f"{s3_uri}/in/tiles.tar", f"{s3_uri}/out", model)
    assert found.counts == local.counts == {"images": 3, "done": 3, "skipped": 0, "failed": 0, "left": 0}
    assert found.product == local.product
    store = open_store(f"{s3_uri}/out")
    there = {info.key: store.get(info.key) for info in store.list("products")}
    assert there == tree_bytes(tmp_path / "out")
    assert run(f"{s3_uri}/in/tiles.tar", f"{s3_uri}/out", model).nothing_to_do
    here, far = Client(tmp_path / "out"), Client(f"{s3_uri}/out")
    pixel = here.at_pixel("t1", 50, 60)
    assert pixel.class_name in {c.name for c in CLASSES}
    assert far.at_pixel("t1", 50, 60) == pixel
    assert pixel.lon is not None
    assert pixel.lat is not None
    assert far.at(pixel.lon, pixel.lat).image == pixel.image


def test_hostile_archive_by_the_command_line(tmp_path: Path, model: Path) -> None:
    bomb = _bomb()
    hostile = write_tar(tmp_path / "bad.tar", bomb=bomb)
    before = {path.name for path in tmp_path.iterdir()}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gridscribe", "run", MASKS_JOB, "--input", str(tmp_path / "bad.tar")),
            *("--output", str(tmp_path / "out"), "--executor", "local", "--json", "--cfg-options", f"model={model}"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30)),
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    result = json.loads(done.stdout)
    assert result["counts"]["done"] == len(GOOD)
    assert {path.name for path in tmp_path.iterdir()} == before | {"out"}
    store = open_store(tmp_path / "out")
    manifest = read_manifest(store, result["job"])
    assert manifest is not None
    rows = {row["source"].partition("!/")[2]: row for row in read_manifest_inputs(store, manifest).to_pylist()}
    for member in hostile:
        name = next(name for name in rows if name.endswith(member.name.lstrip("./")) or name == member.name)
        assert rows[name]["state"] == member.state, (member.name, rows[name])
        assert rows[name]["error"] == member.error, (member.name, rows[name])
        assert member.reason in rows[name]["reason"]
    bombs = [row for name, row in rows.items() if name.startswith("bomb")]
    assert bombs
    assert all(row["state"] == "failed" for row in bombs)
    assert len(result["failures"]) == result["counts"]["failed"]


def _bomb() -> bytes:
    """A TIFF of a few hundred kilobytes whose single deflate strip unpacks to 3.6 GB."""
    import struct
    import zlib

    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    data = b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    size = 60_000
    entries = [
        (256, 4, 1, size),
        (257, 4, 1, size),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, size),
        (279, 4, 1, len(data)),
    ]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory = 8 + len(data) + len(data) % 2
    head = struct.pack("<2sHI", b"II", 42, directory)
    return head + data + bytes(len(data) % 2) + struct.pack("<H", len(entries)) + body + bytes(4)


def test_one_pair_in_a_folder_of_the_wrong_kind(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("nothing here")
    result = run(tmp_path / "in", tmp_path / "out", model)
    assert result.counts["images"] == 0
    assert result.counts["skipped"] == 1


def test_ungeoreferenced_tiles_are_answered_by_image(tmp_path: Path, model: Path) -> None:
    rgb, ndsm = pair(3, 90, 80, crs=None, transform=rasterio.Affine.identity())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "plain_rgb.tif").write_bytes(rgb)
    (tmp_path / "in" / "plain_ndsm.tif").write_bytes(ndsm)
    result = run(tmp_path / "in", tmp_path / "out", model)
    assert result.counts["done"] == 1
    pixel = Client(tmp_path / "out").at_pixel("plain", 10, 20)
    assert pixel.class_name is not None
    assert pixel.crs is None
    assert "gsd-unknown" in pixel.flags


@pytest.mark.real
def test_real_tiles_open_without_gridscribe(tmp_path: Path, model: Path) -> None:
    if not RASTERS.is_dir():
        pytest.skip("the real rasters are not beside this checkout")
    result = run(RASTERS, tmp_path, model)
    assert (result.counts["done"], result.counts["failed"]) == (2, 0)
    store = open_store(tmp_path)
    manifest = read_manifest(store, result.job)
    assert manifest is not None
    rows = read_manifest_inputs(store, manifest).to_pylist()
    skipped = {Path(row["source"]).name for row in rows if row["state"] == "skipped"}
    assert {"labels_nn3px.tif", "labels_sparse.tif", "LICENSE.md", "LICENSE", "tree_boxes.xml"} == skipped
    sources = {"ign": RASTERS / "ign_lidar_hd" / "rgb.tif", "neon": RASTERS / "neon_sjer_052" / "rgb.tif"}
    for name, source in sources.items():
        (mask_path,) = [p for p in tmp_path.glob("products/*/masks/*.tif") if name in p.name and p.name.count(".") == 1]
        with rasterio.open(mask_path) as mask, rasterio.open(source) as rgb:
            assert mask.crs == rgb.crs
            assert mask.transform.almost_equals(rgb.transform)
            assert mask.shape == rgb.shape
            assert mask.nodata == 255
            assert mask.colormap(1)[2][:3] == CLASSES[2].color
            assert any("roof" in str(value) for value in mask.tags(1).values())
            assert set(np.unique(mask.read(1))) <= {0, 1, 2, 3, 255}
        for path in (mask_path, *(mask_path.with_suffix(f".{kind}.tif") for kind in ("confidence", "height"))):
            valid, errors, warnings = cog_validate(path, strict=True)
            assert valid, (path, errors, warnings)
        with Reader(str(mask_path)) as reader:
            assert reader.info().nodata_type == "Nodata"
            west, south, east, north = reader.get_geographic_bounds("EPSG:4326")
        pixel = Client(tmp_path).at((west + east) / 2, (south + north) / 2)
        assert pixel.image is not None
        assert name in pixel.image
    collection = pystac.Collection.from_file(str(tmp_path / "catalog" / "collection.json"))
    items = list(collection.get_items())
    assert len(items) == 2
    for item in items:
        for asset in item.get_assets().values():
            href = asset.get_absolute_href()
            assert href is not None
            assert Path(href).is_file()
