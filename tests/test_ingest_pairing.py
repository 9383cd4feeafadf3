"""Which files belong together, by name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridscribe.ingest.pairing import Group, image_path, is_archive, pair, read_name, skip_reason

WORDS = {
    "rgb": "rgb",
    "RGB": "rgb",
    "ndsm": "height",
    "nDSM": "height",
    "chm": "height",
    "agl": "height",
    "Height": "height",
}


@pytest.mark.parametrize(
    ("path", "role", "key"),
    [
        ("rgb.tif", "rgb", ""),
        ("CHM.TIF", "height", ""),
        ("a/tile_7_RGB.tif", "rgb", "tile_7"),
        ("a/tile_7-nDSM.tiff", "height", "tile_7"),
        ("a/ndsm.tile_7.tif", "height", "tile_7"),
        ("a/tile.dsm.tif", "dsm", "tile"),
        ("a/DTM_tile.tif", "dtm", "tile"),
        ("heights/train/DC_01_25_AGL.h5", "height", "dc_01_25"),
        ("images/train/DC_01_25IMG.h5", "rgb", "dc_01_25"),
        ("classes/train/DC_01_25_CLS.h5", "label", "dc_01_25"),
        ("images/train/tile.tif", "rgb", "tile"),
        ("heights/tile.tif", "height", "tile"),
        ("classes/tile.tif", "label", "tile"),
        ("a/labels_sparse.tif", "label", "labels_sparse"),
        ("a/tile_label.tif", "label", "tile"),
        ("a/tile_labels_v2.tif", "label", "tile_labels_v2"),
        ("a/tile_gt.png", "label", "tile"),
        ("a/tile_mask.png", "label", "tile"),
        ("a/tile.tif", "plain", "tile"),
        ("a/argb.tif", "plain", "argb"),
        ("a/heightened.tif", "plain", "heightened"),
        ("a/tileAGL.tif", "plain", "tileagl"),  # without a separator only in HDF5 names
        ("mask_rgb.tif", "rgb", "mask"),
    ],
)
def test_roles_and_keys(path: str, role: str, key: str) -> None:
    name = read_name(path)
    assert (name.role, name.key) == (role, key)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a/b.geojson", "format"),
        ("LICENSE", "format"),
        ("a/b.xml", "format"),
        ("a/b.vrt", "format"),
        ("a/b.pdf", "document"),
        ("a/.DS_Store", "hidden"),
        ("__MACOSX/a/._b.tif", "hidden"),
        (".cache/b_rgb.tif", "hidden"),
        ("a/b_labels.tif", "label"),
        ("a/b_rgb.tif", None),
        ("a/b.TIFF", None),
        ("a/b.jp2", None),
        ("a/b.h5", None),
    ],
)
def test_what_is_passed_over(path: str, kind: str | None) -> None:
    reason = skip_reason(path)
    assert (reason[0] if reason else None) == kind


def test_archives_by_name() -> None:
    assert all(map(is_archive, ["a.tar", "b.TAR.GZ", "c.tgz", "d.zip"]))
    assert not any(map(is_archive, ["a.tif", "tar", "b.gz"]))


@pytest.mark.parametrize(
    ("paths", "groups"),
    [
        (["rgb.tif", "chm.tif"], [Group("rgb.tif", "chm.tif")]),
        (["x_ndsm.tif", "x_rgb.tif"], [Group("x_rgb.tif", "x_ndsm.tif")]),
        (["x.tif", "x_ndsm.tif"], [Group("x.tif", "x_ndsm.tif")]),
        (["X_RGB.tif", "x_NDSM.tif"], [Group("X_RGB.tif", "x_NDSM.tif")]),
        (["x_rgb.tif", "x_dsm.tif", "x_dtm.tif"], [Group("x_rgb.tif", None, "x_dsm.tif", "x_dtm.tif")]),
        (["i/x_rgb.tif", "j/x_ndsm.tif"], [Group("i/x_rgb.tif")]),  # other folders are other tiles
        (["rgb/x.tif", "ndsm/x.tif"], [Group("rgb/x.tif", "ndsm/x.tif")]),
        (["d/images/t/x.png", "d/heights/t/x.tif"], [Group("d/images/t/x.png", "d/heights/t/x.tif")]),
        (["images/x_rgb.tif", "images/x_ndsm.tif"], [Group("images/x_rgb.tif", "images/x_ndsm.tif")]),
        (["x.tif"], [Group("x.tif")]),
        (["x_rgb.tif", "x_ndsm.tif", "x.tif"], [Group("x_rgb.tif", "x_ndsm.tif"), Group("x.tif")]),
        (["x_rgb.tif", "x_ndsm.tif", "x_dsm.tif"], [Group("x_rgb.tif", "x_ndsm.tif")]),
    ],
)
def test_groups(paths: list[str], groups: list[Group]) -> None:
    assert pair(paths)[0] == groups


@pytest.mark.parametrize(
    ("paths", "state", "word"),
    [
        (["x_ndsm.tif"], "failed", "no RGB beside it"),
        (["x_rgb.tif", "x_dsm.tif"], "failed", "dtm"),
        (["x_rgb.tif", "x_dtm.tif"], "failed", "dsm"),
        (["x_rgb.tif", "rgb_x.tif", "x_ndsm.tif"], "failed", "ambiguous"),
        (["x_rgb.tif", "x_chm.tif", "x_ndsm.tif"], "failed", "ambiguous"),
        (["rgb/x.tif", "img/x.tif", "ndsm/x.tif"], "failed", "ambiguous"),
        (["x_rgb.tif", "rgb_x.tif"], "failed", "ambiguous"),
        (["x_rgb.tif", "x_ndsm.tif", "x_dsm.tif"], "skipped", "not needed"),
    ],
)
def test_misfits(paths: list[str], state: str, word: str) -> None:
    _, misfits = pair(paths)
    assert misfits
    assert all(misfit.state == state and word in misfit.reason for misfit in misfits)


FOLDERS = st.sampled_from(["", "a", "images", "heights", "a/images/b", "a/heights/b", "dsm"])
ROLES = st.sampled_from(["_rgb", "_ndsm", "_dsm", "_dtm", "", "-CHM", ".RGB"])
PATHS = st.builds(lambda f, k, r: f"{f}/{k}{r}.tif".lstrip("/"), FOLDERS, st.sampled_from(["x", "y"]), ROLES)


@given(st.lists(PATHS, unique=True, max_size=14), st.randoms(use_true_random=False))
def test_every_file_ends_in_one_place_in_any_order(paths: list[str], order: random.Random) -> None:
    groups, misfits = pair(paths)
    used = [path for group in groups for path in (group.rgb, group.height, group.dsm, group.dtm) if path is not None]
    assert sorted([*used, *(misfit.path for misfit in misfits)]) == sorted(paths)
    for group in groups:
        assert group.height is None or (group.dsm is None and group.dtm is None)
        assert (group.dsm is None) == (group.dtm is None)
    shuffled = list(paths)
    order.shuffle(shuffled)
    again, misfits_again = pair(shuffled)
    assert set(again) == set(groups)
    assert {misfit.path for misfit in misfits_again} == {misfit.path for misfit in misfits}


def test_what_an_image_is_called() -> None:
    assert image_path("ign/rgb.tif") == "ign"
    assert image_path("tiles/x_RGB.tif") == "tiles/x"
    assert image_path("rgb.tif") == "rgb"
    assert image_path("tiles/x.tif") == "tiles/x"
