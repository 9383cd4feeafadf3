"""A tiny document package with random weights, and documents to read with it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from gridscribe.models.document.architecture import PageArchitecture
from gridscribe.models.document.latents import AdaptiveLatents, LatentSettings
from gridscribe.models.document.network import PageEncoder
from gridscribe.models.document.package import DocumentPackage, assemble, write
from gridscribe.models.document.patch_classifier import PatchClassifier
from gridscribe.models.document.token_space import TokenSpace
from gridscribe.models.weights import network_state

TINY = PageArchitecture(patch=14, stem_width=16, width=32, layers=2, heads=2, doublings=1, head_width=12, embed_dim=16)


def tiny_document(
    folder: Path, seed: int = 0, bias: float = 2.0, *, classifier: bool = False, latents: LatentSettings | None = None
) -> DocumentPackage:
    """Crops of 112 px; with the usual bias some cells are text and others are not, and so with the classifier's blocks."""
    torch.manual_seed(seed)
    network, space = PageEncoder(TINY), TokenSpace(TINY.embed_dim, buckets=400)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.15)
    package, described = assemble(
        network_state(network), space.grams.weight.detach().numpy(), name="tiny-pages", description="random",
        architecture=TINY, crop=112, dpi=72.0, mean=(0.9, 0.9, 0.9), std=(0.25, 0.25, 0.25), scale=10.0, bias=bias, source={},
        classifier=network_state(PatchClassifier(28)) if classifier else None,
        latents=None if latents is None else (latents.to_json(), network_state(AdaptiveLatents(latents))),
    )  # fmt: skip
    write(folder, package, described)
    return package


def letter(text: str, size: tuple[int, int] = (220, 160)) -> Image.Image:
    """A picture of some lines of text, black on white, `size` (width, height)."""
    page = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(text.splitlines()):
        pen.text((10, 10 + 18 * number), line, fill="black", font=ImageFont.load_default(size=14))
    return page


def pdf_bytes(pages: list[Image.Image], rotate: int = 0) -> bytes:
    """A PDF of pictures, one point a pixel, written by hand: every page has `/Rotate`."""
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for page in pages:
        data = io.BytesIO()
        page.convert("RGB").save(data, "JPEG", quality=95)
        width, height = page.size
        image, content, own = len(objects) + 1, len(objects) + 2, len(objects) + 3
        head = (
            f"<< /Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceRGB /BitsPerComponent 8 "
            f"/Filter /DCTDecode /Length {len(data.getvalue())} >>"
        )
        objects.append(head.encode() + b"\nstream\n" + data.getvalue() + b"\nendstream")
        draw = f"q {width} 0 0 {height} 0 0 cm /Im Do Q".encode()
        objects.append(f"<< /Length {len(draw)} >>".encode() + b"\nstream\n" + draw + b"\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Rotate {rotate} /Contents {content} 0 R "
            f"/Resources << /XObject << /Im {image} 0 R >> >> >>".encode()
        )
        kids.append(own)
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(f'{k} 0 R' for k in kids)}] /Count {len(kids)} >>".encode()
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write(b"".join(f"{place:010d} 00000 n \n".encode() for place in places))
    out.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


def quadrants(width: int = 60, height: int = 40) -> np.ndarray:
    """uint8 [height, width, 3]: red, green, blue and black quarters, by which any turn of a page is told."""
    out = np.zeros((height, width, 3), np.uint8)
    out[: height // 2, : width // 2, 0] = out[: height // 2, width // 2 :, 1] = out[height // 2 :, : width // 2, 2] = (
        255
    )
    return out
