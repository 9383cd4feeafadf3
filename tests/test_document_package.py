"""Document packages: what is written is read back, and what is damaged, missing or out of range is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.document.architecture import PageArchitecture
from gridscribe.models.document.network import PageEncoder
from gridscribe.models.document.package import (
    FILES,
    DocumentPackage,
    assemble,
    build_page_encoder,
    gram_vectors,
    load_document_model,
    write,
)
from gridscribe.models.document.token_space import TokenSpace
from gridscribe.models.weights import network_state

SMALL = PageArchitecture(patch=8, width=32, layers=2, heads=2, head_width=12, embed_dim=10)


@pytest.fixture(scope="module")
def made() -> tuple[DocumentPackage, bytes, PageEncoder, TokenSpace]:
    torch.manual_seed(0)
    network, space = PageEncoder(SMALL), TokenSpace(10, buckets=300)
    package, described = assemble(
        network_state(network),
        space.grams.weight.detach().numpy(),
        name="tiny",
        description="random",
        architecture=SMALL,
        crop=64,
        dpi=110,
        mean=(0.9, 0.9, 0.9),
        std=(0.2, 0.2, 0.2),
        scale=10.0,
        bias=-2.5,
        source={"training": "none"},
    )
    return package, described, network, space


def test_what_is_written_is_read_back(made: Any, tmp_path: Path) -> None:
    package, described, network, space = made
    write(tmp_path / "m", package, described)
    found = load_document_model(tmp_path / "m")
    assert (found.digest, found.architecture, found.crop, found.dpi) == (package.digest, SMALL, 64, 110)
    pixels = torch.rand(1, 3, 24, 40)
    with torch.no_grad():
        torch.testing.assert_close(
            build_page_encoder(found)(pixels),
            network.eval()(pixels),
            atol=2e-3,
            rtol=2e-2,  # float16 on disk
        )
    np.testing.assert_allclose(gram_vectors(found), space.grams.weight.detach().numpy(), atol=2e-3)
    words = load_document_model(tmp_path / "m", parts=("tokens",))
    assert (words.page, words.digest) == (None, package.digest)
    with pytest.raises(UsageError, match="holds a model"):
        write(tmp_path / "m", package, described)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), "gridscribe-alignment/1", "'gridscribe-document/1'"),
        (("mlm:tasks",), ["semantic-segmentation"], "tasks"),
        (("gridscribe", "crop"), 60, "whole patches of 8"),
        (("gridscribe", "dpi"), 5, "36..1200"),
        (("gridscribe", "mean"), [0.5, 2, 0], "R, G, B"),
        (("gridscribe", "scale"), 0, "scale 0"),
        (("gridscribe", "architecture", "width"), 30, "multiple of 4"),
        (("gridscribe", "architecture", "depth"), 3, "no 'depth'"),
    ],
)
def test_what_is_out_of_range_is_named(made: Any, tmp_path: Path, path: Any, value: Any, words: str) -> None:
    package, described, *_ = made
    write(tmp_path, package, described)
    document = json.loads(described)
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=words):
        load_document_model(tmp_path)


def test_damage_and_strangers_are_named(made: Any, tmp_path: Path) -> None:
    package, described, *_ = made
    write(tmp_path, package, described)
    data = bytearray((tmp_path / FILES["page"]).read_bytes())
    data[-1] ^= 1
    (tmp_path / FILES["page"]).write_bytes(bytes(data))
    assert load_document_model(tmp_path, parts=("tokens",)).digest == package.digest
    with pytest.raises(ModelError, match=r"page\.safetensors.*damaged"):
        load_document_model(tmp_path)
    (tmp_path / FILES["page"]).unlink()
    with pytest.raises(ModelError, match=r"page\.safetensors"):
        load_document_model(tmp_path)
    with pytest.raises(ModelError, match="neither a shipped model"):
        load_document_model("no-such-model")
