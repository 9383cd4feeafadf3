"""`gridscribe match` and `similar`: what stands on stdout, in files and in pictures."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from PIL import Image

from gridscribe import Client
from gridscribe.cli import cli
from gridscribe.client import Match
from gridscribe.errors import QueryError, UsageError
from gridscribe.pipelines.picture import LEGEND
from gridscribe.store import open_store
from gridscribe.values import Grid
from gridscribe.workers.look import matches_picture
from gridscribe.workers.run import RunRequest, run_job
from tests.embedded import aligned, write_regions
from tests.outputs import FakeImage
from tests.tiny import tiny_package, write_pair
from tests.tiny_clip import tiny_alignment

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

UTM = "EPSG:32633"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("match")
    package = tiny_alignment(folder / "words")
    store = open_store(folder / "out")
    images = [FakeImage("one", Grid(120, 100, (0.5, 0.0, 5e5, 0.0, -0.5, 5e6), UTM)), FakeImage("pixels", Grid(80, 90))]
    write_regions(store, images, aligned(package.uri, package.digest))
    return store.uri


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_json_is_one_document_with_the_promised_keys(output: str, tmp_path: Path) -> None:
    done = run("match", output, "swimming pool", "--top-k", "7", "--json", "--geojson", str(tmp_path / "f.geojson"))
    assert done.exit_code == 0
    value = json.loads(done.stdout)
    assert "wrote" in done.stderr
    assert list(value) == ["query", "matches"]
    assert value["query"] == "swimming pool"
    wanted = list(Client(output).match("swimming pool", top_k=7))
    assert len(value["matches"]) == 7
    for found, match in zip(value["matches"], wanted, strict=True):
        assert list(found) == ["score", "region_id", "image", "class_name", "geometry", "bbox", "labels"]
        assert (found["score"], found["region_id"]) == (match.score, match.region_id)
        assert found["bbox"] == (None if match.bbox is None else list(match.bbox))
        assert (found["geometry"] is None) == (match.image == "pixels")
        assert found["labels"] == [{"text": label.text, "score": label.score} for label in match.labels]
    frame = geopandas.read_file(tmp_path / "f.geojson")
    assert frame["score"].tolist() == [match.score for match in wanted]
    placed = [match for match in wanted if match.geometry is not None]
    assert all(a.equals(b.geometry) for a, b in zip(frame.geometry[frame.geometry.notna()], placed, strict=True))


def test_options_reach_the_query(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = [m.bbox for m in Client(output).match("pool", top_k=999, class_name="road") if m.bbox is not None]
    west, south, east, north = bounds[0]
    asked = (
        "--bbox",
        *map(str, (west, south, east, north)),
        "--class",
        "road",
        "--threshold",
        "-0.5",
        "--image",
        "one",
    )
    value = json.loads(run("match", output, "pool", *asked, "--json").stdout)
    wanted = Client(output).match("pool", (west, south, east, north), threshold=-0.5, class_name="road", image="one")
    assert [match["region_id"] for match in value["matches"]] == [match.region_id for match in wanted]
    assert value["matches"]
    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path))
    near = json.loads(run("match", output, "pool", *asked, "--json", "--approximate").stdout)
    assert len(near["matches"]) == len(value["matches"])
    assert len(list((tmp_path / "vectors").iterdir())) == 1
    nothing = json.loads(run("match", output, "pool", "--bbox", "-10", "-10", "-9", "-9", "--json").stdout)
    assert nothing == {"query": "pool", "matches": []}


def test_a_table_has_a_line_for_each_match(output: str) -> None:
    lines = run("match", output, "pool", "--top-k", "5").stdout.splitlines()
    for line, match in zip(lines, Client(output).match("pool", top_k=5), strict=True):
        assert line.startswith(f"{match.score:+.4f}  {match.class_name}")
        assert match.region_id in line
        assert "house 0.50, water" in line
        assert ("row" in line) == (match.image == "pixels")
    assert run("match", output, "pool", "--threshold", "2").stdout == "no region is near enough\n"


def test_similar(output: str) -> None:
    client = Client(output)
    first = next(match for match in client.match("pool") if match.geometry is not None)
    value = json.loads(run("similar", output, "--region", first.region_id, "--top-k", "3", "--json").stdout)
    wanted = [match.region_id for match in client.similar(region=first.region_id, top_k=3)]
    assert [match["region_id"] for match in value["matches"]] == wanted
    assert value["query"] == {"region": first.region_id}
    assert first.geometry is not None
    place = first.geometry.representative_point()
    there = json.loads(run("similar", output, str(place.x), str(place.y), "--top-k", "3", "--json").stdout)
    assert [match["region_id"] for match in there["matches"]] == wanted
    for bad in ([], ["1", "2", "--region", "x"]):
        with pytest.raises(UsageError, match="LON LAT, or --region ID"):
            run("similar", output, *bad)
    with pytest.raises(QueryError, match="no region"):
        run("similar", output, "-3", "-40")


def test_at_tells_labels_and_embedding_when_asked(output: str) -> None:
    match = next(match for match in Client(output).match("pool") if match.geometry is not None)
    assert match.geometry is not None
    place = match.geometry.representative_point()
    plain = json.loads(run("at", output, str(place.x), str(place.y), "--json").stdout)
    assert (plain["embedding"], plain["labels"]) == (None, None)
    full = json.loads(run("at", output, str(place.x), str(place.y), "--embedding", "--json").stdout)
    assert len(full["embedding"]) == 24
    assert full["labels"][0]["text"] == "house"
    assert "house 0.50" in run("at", output, str(place.x), str(place.y), "--embedding").stdout


def test_a_picture_over_the_mask_where_there_is_no_source(output: str, tmp_path: Path) -> None:
    for number, image in enumerate(("one", "pixels")):
        file = tmp_path / f"{number}.png"
        done = run("match", output, "pool", "--image", image, "--picture", str(file))
        assert f"wrote {file}" in done.stdout
        pixels = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)
        assert max(Image.open(file).size) >= 512
        assert (pixels == (255, 43, 214)).all(axis=1).sum() > 100  # the best match's outline
        assert (pixels == (220, 40, 40)).all(axis=1).any()  # the colour of a class
    done = run("match", output, "pool", "--threshold", "2", "--picture", str(tmp_path / "none.png"))
    assert "is not written" in done.stderr
    assert not (tmp_path / "none.png").exists()


def test_a_picture_over_the_image(tmp_path: Path) -> None:
    """A real job's image; its regions are embedded by hand, for the picture does not look at vectors."""
    tiny_package(tmp_path / "masks")
    words = tiny_alignment(tmp_path / "words")
    write_pair(tmp_path / "tiles", "t", 300, 260, seed=3)
    with rasterio.open(tmp_path / "tiles" / "t_rgb.tif") as file:
        source = np.moveaxis(file.read((1, 2, 3)), 0, -1).repeat(2, 0).repeat(2, 1)  # below 512 pixels: twice as large
    models = {"model": str(tmp_path / "masks"), "alignment": {"model": words.uri, "regions": None, "concepts": None}}
    out = str(tmp_path / "out")
    run_job(RunRequest("raster", (str(tmp_path / "tiles"),), out, executor="local", overrides=models))
    client = Client(out)
    region = client.region(client.regions()["region_id"][0].as_py())
    facts = {name: getattr(region, name) for name in Match.__dataclass_fields__ if hasattr(region, name)}
    matches = [Match(**facts, score=0.5, query="text")]

    def shown() -> np.ndarray:
        picture = np.asarray(Image.open(io.BytesIO(matches_picture(out, matches, "pool"))))
        assert picture.shape == (600 + LEGEND, 520, 3)
        return picture[LEGEND:]

    assert (shown() == source).all(axis=2).mean() > 0.5
    shutil.rmtree(tmp_path / "tiles")
    mask = shown()
    assert (mask == source).all(axis=2).mean() < 0.1
    assert (mask == (255, 43, 214)).all(axis=2).any()
