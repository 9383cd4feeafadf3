"""Images without height: what a package says it can do without, which absences are let through, and what becomes of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from gridscribe import Client
from gridscribe.errors import UsageError
from gridscribe.ingest.discover import Discovery, InputOptions, discover
from gridscribe.ingest.raster import open_raster
from gridscribe.manifest import read_manifest, read_manifest_inputs
from gridscribe.pipelines.config import RasterJob, raster_job
from gridscribe.pipelines.dropout import ENOUGH_DROPPED, optional_bands
from gridscribe.pipelines.plan import plan_raster
from gridscribe.pipelines.training import load_config, package_network
from gridscribe.store import open_store
from gridscribe.workers.run import RunRequest, RunResult, dry_run_report, run_job
from tests.hostile import pair, tiff
from tests.tiny import ARCHITECTURE, MASKS_JOB, tiny_package, tree_bytes, write_pair

NOWHERE: dict[str, Any] = {"crs": None, "transform": rasterio.Affine.identity()}
RGB, NDSM = pair(0)
PHOTO, _ = pair(1, **NOWHERE)


def find(*uris: object, height_for: str | None = None, **options: Any) -> Discovery:
    return discover([str(uri) for uri in uris], InputOptions(**options), height_for=height_for)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    write(path.with_suffix(""), files)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name in files:
            archive.add(path.with_suffix("") / name, name)
    return path


def bare(found: Discovery) -> list[str]:
    return [image.source.rpartition("!/")[2] for image in found.images if not image.has_height]


def reasons(found: Discovery) -> dict[str, str]:
    """Of failures, by the last part of their names."""
    return {a.source.replace("#", "/").rpartition("/")[2]: a.reason for a in found.accounts if a.state == "failed"}


# --- what a package says ---


def test_a_network_may_do_without_what_it_does_not_see_or_was_often_denied() -> None:
    def seeing(part: str, *use: str) -> dict[str, Any]:
        return {**ARCHITECTURE, part: {**ARCHITECTURE[part], "use": list(use)}}  # type: ignore[dict-item]

    assert optional_bands(ARCHITECTURE, 0.0) == ()
    assert optional_bands(ARCHITECTURE, 0.04) == ()
    assert optional_bands(ARCHITECTURE, ENOUGH_DROPPED) == ("height",)
    for part in ("backbone", "data_preprocessor"):
        assert optional_bands(seeing(part, "rgb"), 0.0) == ("height",)
        assert optional_bands(seeing(part, "height"), 0.5) == ()
        assert optional_bands(seeing(part, "rgb", "height"), 0.04) == ()


@pytest.mark.parametrize(
    ("config", "drop", "wanted"),
    [("rgb", 0.0, ("height",)), ("height", 0.3, ()), ("early", 0.04, ()), ("early", 0.3, ("height",))],
)
def test_training_writes_it_into_the_package(tmp_path: Path, config: str, drop: float, wanted: tuple[str, ...]) -> None:
    from gridscribe.models.package import load_package
    from gridscribe.models.segmentor import build_segmentor

    loaded = load_config(config, data=tmp_path, work_dir=tmp_path)
    network = build_segmentor(loaded.model.to_dict())
    package_network(loaded, network, tmp_path / "package", {"drop_height": drop})
    assert load_package(tmp_path / "package").optional_bands == wanted


# --- which absences are let through ---

MIXED = {
    "a/with_rgb.tif": RGB,
    "a/with_ndsm.tif": NDSM,
    "a/without_rgb.tif": RGB,
    "a/plain.tif": RGB,
    "b/rgb.tif": RGB,
    "b/half_rgb.tif": RGB,
    "b/half_dsm.tif": NDSM,
    "b/broken_rgb.tif": RGB,
    "b/broken_ndsm.tif": NDSM[:200],
    "b/unread_rgb.tif": RGB,
    "b/unread_ndsm.asc": b"ncols 40",
    "b/packed_rgb.tif": RGB,
    "b/packed_ndsm.tif.gz": b"\x1f\x8b",
    "b/photo.tif": PHOTO,
    "c/images/1.tif": RGB,
    "c/heights/1.xyz": b"0 0 1",
    "c/images/2.tif": PHOTO,
}
ABSENT = {"a/without_rgb.tif", "a/plain.tif", "b/rgb.tif", "c/images/2.tif"}
LOST = {
    "half_rgb.tif": "a DSM alone",
    "half_dsm.tif": "a DSM alone",
    "broken_rgb.tif": "broken_ndsm.tif, which cannot be used",
    "broken_ndsm.tif": "cut short",
    "unread_rgb.tif": "unread_ndsm.asc is the height of it, and cannot be used",
    "packed_rgb.tif": "packed_ndsm.tif.gz is the height of it",
    "packed_ndsm.tif.gz": "repack",
    "photo.tif": "add `_rgb` to its name",
    "1.tif": "heights/1.xyz is the height of it",
}


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz", "zip", "list"])
def test_true_absence_is_let_through_and_lost_heights_fail(tmp_path: Path, kind: str) -> None:
    where = tmp_path / "in"
    if kind == "folder":
        write(where, MIXED)
    elif kind == "list":
        write(tmp_path / "in", MIXED)
        where = tmp_path / "lists" / "list.txt"
        where.parent.mkdir()
        # listed and not there, like a height that was moved
        lines = [f"../in/{name}".replace(".xyz", ".tiff") for name in MIXED]
        where.write_text("\n".join(lines))
    elif kind == "zip":
        where = tmp_path / "in.zip"
        with zipfile.ZipFile(where, "w") as archive:
            for name, data in MIXED.items():
                archive.writestr(name, data)
    else:
        where = write_tar(tmp_path / f"in.{kind}", MIXED)
    found = find(where)
    expected = {Path(name).name if kind == "list" else name for name in ABSENT}
    if kind == "list":
        expected = (expected - {"rgb.tif"}) | {"b/rgb.tif"}
    assert set(bare(found)) == expected
    assert len(found.images) == len(ABSENT) + 1
    failed = reasons(found)
    for name, word in LOST.items():
        assert (word.replace(".xyz", ".tiff") if kind == "list" else word) in failed.pop(name), name
    assert failed.keys() == ({"1.tiff"} if kind == "list" else set())
    used = len(found.images) + 1 + len(found.accounts)
    assert used == len(MIXED)
    strict = find(where, height_for="model 'm' needs it")
    assert len(strict.images) == 1
    assert "no height beside it" in reasons(strict)["without_rgb.tif"]
    assert reasons(strict)["without_rgb.tif"].endswith("; model 'm' needs it")
    assert {a.source for a in strict.accounts} >= {a.source for a in found.accounts}


def test_an_image_without_height_reads_as_missing_everywhere(tmp_path: Path) -> None:
    (image,) = find(write(tmp_path, {"x_rgb.tif": RGB})).images
    assert (image.height, image.dsm, image.dtm, image.height_band) == (None,) * 4
    assert type(image).from_json(json.loads(json.dumps(image.to_json()))) == image
    with open_raster(image) as reader:
        pixels = reader.read(image.grid.window)
        assert pixels.valid.all()
        assert pixels.height.dtype == np.float32
        assert np.isnan(pixels.height).all()
        coarse = image.grid.__class__(24, 20, (0.4, 0.0, 700_000.0, 0.0, -0.4, 6_600_000.0), image.grid.crs)
        assert np.isnan(reader.read(coarse.window, coarse).height).all()


def test_pictures_without_a_place_are_images_where_no_name_has_a_role(tmp_path: Path) -> None:
    assert bare(find(write(tmp_path / "a", {"1.tif": PHOTO, "2.tif": RGB}))) == ["1.tif", "2.tif"]
    found = find(write(tmp_path / "b", {"1.tif": PHOTO, "x_rgb.tif": RGB, "y_labels.tif": RGB}))
    assert bare(found) == ["x_rgb.tif"]
    assert "not taken for an image" in reasons(found)["1.tif"]


def test_bands_that_may_be_height_are_not_guessed_away(tmp_path: Path) -> None:
    height = np.full((1, 48, 40), 7, np.uint8)
    stored = np.random.default_rng(0).integers(0, 255, (3, 48, 40)).astype(np.uint8)

    def described(bands: np.ndarray, band: int, text: str) -> bytes:
        with MemoryFile(tiff(bands)) as memory, memory.open() as source:
            profile, colors = source.profile, list(source.colorinterp)
        with MemoryFile() as memory:
            with rasterio.open(memory, "w", **profile) as dataset:
                dataset.write(bands)
                dataset.set_band_description(band, text)
                dataset.colorinterp = [c if c != ColorInterp.alpha else ColorInterp.undefined for c in colors]
            return bytes(memory.read())

    four = np.concatenate([stored, height])
    write(tmp_path, {"nir.tif": described(four, 4, "near infrared"), "all.tif": described(four, 4, "nDSM")})
    write(tmp_path, {"odd.tif": described(stored, 3, "height"), "grey.tif": tiff(height)})
    write(tmp_path, {"opaque.tif": tiff(four, photometric="RGB", alpha="YES")})
    found = find(tmp_path)
    assert bare(found) == ["opaque.tif"]
    assert [image.source for image in found.images if image.has_height] == ["all.tif"]
    failed = reasons(found)
    assert "4 bands, none described as height" in failed["nir.tif"]
    assert "band 3 is described as height, and is one of RGB's (1, 2, 3)" in failed["odd.tif"]
    assert "1 band" in failed["grey.tif"]
    stated = reasons(find(write(tmp_path / "s", {"x_rgb.tif": RGB}), height_band=4))
    assert "fewer than input option 'height_band' (4)" in stated["x_rgb.tif"]


def test_what_could_not_be_listed_may_hold_the_height(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "cut.tar", {"x_rgb.tif": RGB, "y.txt": b"words" * 2000, "z_ndsm.tif": NDSM})
    data = archive.read_bytes()
    for name, end in (("member", 8192), ("header", data.index(b"z_ndsm.tif") + 100)):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(data[:end])
        found = find(path)
        assert not found.images
        assert "it may lie in what could not be listed of" in reasons(found)["x_rgb.tif"], name
    assert bare(find(archive)) == ["x_rgb.tif"]
    damaged = bytearray(data)
    damaged[data.index(b"z_ndsm.tif")] ^= 1
    (tmp_path / "damaged.tar").write_bytes(damaged)
    assert not find(tmp_path / "damaged.tar").images
    linked = tmp_path / "linked.tar"
    with tarfile.open(linked, "w") as out:
        out.add(tmp_path / "cut" / "x_rgb.tif", "x_rgb.tif")
        for name in ("x_ndsm.tif", "latest"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            out.addfile(info)
        out.add(tmp_path / "cut" / "x_rgb.tif", "w_rgb.tif")
    found = find(linked)
    assert bare(found) == ["w_rgb.tif"]
    assert "x_ndsm.tif is the height of it" in reasons(found)["x_rgb.tif"]


def test_a_height_that_went_into_another_input_is_not_absent(tmp_path: Path) -> None:
    write(tmp_path, {"images/x.tif": RGB, "heights/x.tif": NDSM})
    found = find(tmp_path / "heights", tmp_path)
    assert not found.images
    assert len(found.accounts) == 2


def test_stac_items_without_height(tmp_path: Path) -> None:
    write(tmp_path, {"x.tif": RGB, "h.tif": NDSM, "bad.tif": NDSM[:200]})
    assets = {
        "none": {},
        "dsm-only": {"dsm": {"href": "h.tif"}},
        "dtm-only": {"p": {"href": "h.tif", "roles": ["dtm"]}},
        "no-href": {"ndsm": {"title": "height"}},
        "broken": {"chm": {"href": "bad.tif"}},
        "gone": {"chm": {"href": "gone.tif"}},
        "both": {"dsm": {"href": "h.tif"}, "dtm": {"href": "h.tif"}},
        "other": {"thumbnail": {"href": "t.png"}},
    }
    items = [
        {"type": "Feature", "id": key, "properties": {}, "assets": {"visual": {"href": "x.tif"}, **more}}
        for key, more in assets.items()
    ]
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    found = find(path)
    assert bare(found) == ["none", "other"]
    assert [image.source for image in found.images if image.has_height] == ["both"]
    words = {
        "dsm-only": "add a dtm asset",
        "dtm-only": "add a dsm asset",
        "no-href": "the height asset has no href",
        "broken": "its height asset",
        "gone": "its height asset",
    }
    failed = reasons(found)
    assert failed.keys() == words.keys()
    assert all(word in failed[key] for key, word in words.items())


# --- who decides ---


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two packages of the same weights: one can do without height, one cannot."""
    folder = tmp_path_factory.mktemp("models")
    tiny_package(folder / "free", optional_bands=("height",))
    tiny_package(folder / "bound")
    return {"free": folder / "free", "bound": folder / "bound"}


def write_bare(folder: Path, name: str, height: int, width: int, **options: Any) -> None:
    write_pair(folder, name, height, width, **options)
    (folder / f"{name}_ndsm.tif").unlink()


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    write_pair(folder, "with", 90, 130, seed=1)
    write_bare(folder, "without", 100, 120, seed=2, origin=(500_100, 5_000_000))
    write_bare(folder, "large", 700, 600, seed=3, origin=(600_000, 5_000_000), nodata_corner=70)
    return folder


def run(tiles: Path, out: Path, model: Path, **overrides: Any) -> RunResult:
    request = RunRequest(
        MASKS_JOB, (str(tiles),), str(out), executor="local", overrides={"model": str(model), **overrides}
    )
    return run_job(request)


def test_the_model_and_the_option_decide(tiles: Path, models: dict[str, Path]) -> None:
    free = plan_raster([str(tiles)], RasterJob(str(models["free"])))
    assert (len(free.images), free.without_height, len(free.accounts)) == (3, 2, 0)
    insisting = RasterJob(str(models["free"]), inputs=InputOptions(require_height=True))
    bound = RasterJob(str(models["bound"]))
    for job, word in ((insisting, "input option 'require_height'"), (bound, "model 'tiny-0' needs it")):
        plan = plan_raster([str(tiles)], job)
        assert (len(plan.images), plan.without_height) == (1, 0)
        assert [account.error for account in plan.accounts] == ["UnpairedError"] * 2
        assert all(word in account.reason for account in plan.accounts)
    assert "optional_bands" in plan.accounts[0].reason
    assert str(ENOUGH_DROPPED) in plan.accounts[0].reason


def test_the_option_is_no_part_of_the_product_and_must_be_a_flag(tiles: Path, models: dict[str, Path]) -> None:
    settings = InputOptions().settings()
    assert "require_height" not in settings
    assert InputOptions(require_height=True).settings() == settings
    assert InputOptions.from_json(InputOptions(require_height=True).to_json()).require_height
    with pytest.raises(UsageError, match="'require_height' needs True or False, got 'no'"):
        raster_job({"inputs": {"require_height": "no"}})
    plans = [
        plan_raster([str(tiles)], RasterJob(str(models["free"]), inputs=InputOptions(require_height=insist)))
        for insist in (False, True)
    ]
    assert plans[0].product == plans[1].product
    assert plans[0].job != plans[1].job


# --- what becomes of them ---


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_job_flags_and_answers_images_without_height(
    tiles: Path, models: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    first = run(tiles, tmp_path, models["free"], **{"engine.name": engine})
    assert first.counts == {"images": 3, "done": 3, "skipped": 0, "failed": 0, "left": 0}
    assert first.without_height == 2
    again = run(tiles, tmp_path, models["free"], **{"engine.name": engine})
    assert again.nothing_to_do
    assert again.without_height == 2
    store = open_store(tmp_path)
    manifest = read_manifest(store, first.job)
    assert manifest is not None
    rows = read_manifest_inputs(store, manifest).to_pylist()
    assert sorted((Path(row["source"]).name, row["state"]) for row in rows) == [
        (f"{name}_rgb.tif", "done") for name in ("large", "with", "without")
    ]
    for table in (*tmp_path.glob("products/*/images/*.parquet"), tmp_path / "catalog" / "images.parquet"):
        for row in pq.read_table(table).to_pylist():
            assert ("no-height" in row["flags"]) == (not row["image"].startswith("with-")), row["image"]
    for path in tmp_path.glob("products/*/masks/*.height.tif"):
        with rasterio.open(path) as file:
            stored = file.read(1)
            assert (stored == file.nodata).all() == (not path.name.startswith("with-"))
    client = Client(tmp_path)
    pixel = client.at_pixel("without", 50, 60)
    assert pixel.class_name is not None
    assert pixel.confidence is not None
    assert pixel.height is None
    assert "no-height" in pixel.flags
    assert pixel.lon is not None
    assert pixel.lat is not None
    table = client.at_many([(pixel.lon, pixel.lat)]).to_pylist()
    assert (table[0]["class_name"], table[0]["height"]) == (pixel.class_name, None)
    other = client.at_pixel("with-", 50, 60)
    assert other.height is not None
    assert "no-height" not in other.flags
    collection = json.loads((tmp_path / "catalog" / "collection.json").read_text())
    assert sum(link["rel"] == "item" for link in collection["links"]) == 3


def test_the_same_bits_for_every_item_size_and_as_with_heights_that_hold_nothing(
    tiles: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """Absence is predicted as a height file full of nodata is, which a model bound to height takes too."""

    def masks(out: Path, result: RunResult) -> dict[str, np.ndarray]:
        found = {}
        for path in sorted((out / "products" / result.product / "masks").glob("*.*")):
            name, _, kind = path.name.partition(".")
            with rasterio.open(path) as file:
                found[f"{name[:-9]}.{kind.removesuffix('vrt').removesuffix('tif')}"] = file.read(1)
        return found

    whole = run(tiles, tmp_path / "whole", models["free"])
    expected = masks(tmp_path / "whole", whole)
    assert len(expected) == 9
    assert len(np.unique(expected["large."])) > 2
    cut = run(tiles, tmp_path / "cut", models["free"], item_size=512)
    assert (cut.product, cut.without_height) == (whole.product, 2)
    assert cut.computed > whole.computed
    filled = tmp_path / "filled"
    filled.mkdir()
    for path in tiles.iterdir():
        (filled / path.name).write_bytes(path.read_bytes())
    for name in ("without", "large"):
        with rasterio.open(filled / f"{name}_rgb.tif") as file:
            profile = {**file.profile, "count": 1, "dtype": "float32", "nodata": -9999.0}
        with rasterio.open(filled / f"{name}_ndsm.tif", "w", **profile) as file:
            file.write(np.full((1, *file.shape), -9999, np.float32))
    given = run(filled, tmp_path / "given", models["bound"])
    assert given.counts["done"] == 3
    assert given.without_height == 0
    for out, result in (("cut", cut), ("given", given)):
        found = masks(tmp_path / out, result)
        assert found.keys() == expected.keys()
        for name, pixels in expected.items():
            np.testing.assert_array_equal(found[name], pixels, err_msg=f"{out} {name}")


def test_insisting_later_fails_what_was_let_through_and_computes_nothing_again(
    tiles: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    first = run(tiles, tmp_path, models["free"])
    before = tree_bytes(tmp_path)
    insisting = run(tiles, tmp_path, models["free"], **{"inputs.require_height": True})
    assert insisting.product == first.product
    assert (insisting.counts["done"], insisting.counts["failed"], insisting.computed) == (1, 2, 0)
    assert insisting.without_height == 0
    assert tree_bytes(tmp_path) == before
    bound = run(tiles, tmp_path / "bound", models["bound"])
    assert (bound.counts["done"], bound.counts["failed"], bound.without_height) == (1, 2, 0)
    assert all("needs it" in failure["reason"] for failure in bound.failures)


def test_the_command_says_how_many(tiles: Path, models: dict[str, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gridscribe", "run", MASKS_JOB, "--input", str(tiles), "--executor", "local"]
    command += ["--output", str(tmp_path), "--cfg-options", f"model={models['free']}"]
    request = RunRequest(MASKS_JOB, (str(tiles),), str(tmp_path), overrides={"model": str(models["free"])})
    assert dry_run_report(request)["without_height"] == 2
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["without_height"] == 2
    assert "2 of 3 images have no height" in done.stderr
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert "2 of the images have no height" in said.stdout
    assert "nothing to do" in said.stdout
    strict = [*command, "--cfg-options", "inputs.require_height=True"]
    refused = subprocess.run(strict, capture_output=True, text=True, check=False, timeout=250)
    assert refused.returncode == 3
    assert "without_rgb.tif: no height beside it" in refused.stdout
    assert "require_height" in refused.stdout
    assert "of the images have no height" not in refused.stdout
