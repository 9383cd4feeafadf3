"""An output with everything in it, made by real jobs with tiny models."""

from __future__ import annotations

from pathlib import Path

from gridscribe.models.document.latents import LatentSettings
from gridscribe.workers.run import RunRequest, run_job
from tests.tiny import tiny_package, write_pair
from tests.tiny_clip import tiny_alignment
from tests.tiny_document import letter, pdf_bytes, tiny_document

BANK = "[template] a photo of {}\nroof; red roof\nwide lawn\nold tree; big tree\npond\n"
SMALL = LatentSettings(dim=16, side=8, width=16, layers=1, heads=2, step=4, passes=3, codes=32, code_dim=4)


def make_output(folder: Path, out: str) -> None:
    """Rasters (two that overlap, one of several items, one without a place on Earth) and documents under one URI, with words,
    tokens, thumbnails and latents."""
    import rasterio

    tiny_package(folder / "masks")
    tiny_alignment(folder / "words")
    tiny_document(folder / "pages", latents=SMALL)
    (folder / "bank.txt").write_text(BANK)
    write_pair(folder / "tiles", "a", 90, 130, seed=1, origin=(500_000, 5_000_000))
    write_pair(folder / "tiles", "b", 100, 120, seed=2, origin=(500_010, 4_999_995))
    write_pair(folder / "tiles", "big", 700, 600, seed=3, origin=(500_100, 5_000_000), nodata_corner=70)
    write_pair(folder / "tiles", "flat", 80, 100, seed=4)
    for name in ("flat_rgb.tif", "flat_ndsm.tif"):  # a picture of nowhere
        with rasterio.open(folder / "tiles" / name) as file:
            pixels, profile = file.read(), file.profile
        del profile["crs"], profile["transform"]
        with rasterio.open(folder / "tiles" / name, "w", **profile) as file:
            file.write(pixels)
    alignment = {"model": str(folder / "words"), "concepts": str(folder / "bank.txt"), "labels": 3}
    overrides = {"model": str(folder / "masks"), "alignment": alignment, "inputs": {"gsd": 0.2}, "item_size": 512}
    found = run_job(RunRequest("raster", (str(folder / "tiles"),), out, executor="local", overrides=overrides))
    assert found.counts["done"] == 4
    docs = folder / "docs"
    docs.mkdir()
    (docs / "a.pdf").write_bytes(pdf_bytes([letter(f"page {k}\nTotal {k}0.00") for k in range(3)]))
    letter("one picture", (300, 130)).save(docs / "b.png", dpi=(72, 72))
    pages = {"model": str(folder / "pages"), "inputs": {"dpi": 72.0}, "thumbnails": True, "latents": 0.01}
    found = run_job(RunRequest("documents", (str(docs),), out, executor="local", overrides=pages))
    assert found.counts["done"] == 4
