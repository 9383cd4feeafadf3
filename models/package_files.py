"""The files of a model package, whatever the model does: read within limits, described as JSON, named by a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridscribe.errors import MissingObjectError, ModelError, StoreError, UsageError

MODEL_FILE = "model.json"
JSON_LIMIT = 1 << 20
SHIPPED = Path(__file__).parent / "shipped"
RGB = ("red", "green", "blue")


def shipped(weights: str) -> list[str]:
    """Names of the packages that come with gridscribe and hold the file `weights`: those of one kind of model."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{weights}") if (path.parent / MODEL_FILE).is_file())


def place_of(uri: str | Path, weights: str) -> str:
    """The folder or URI that `uri` means: the name of a shipped package (see `shipped`), or a place itself.

    Raises ModelError where it is neither.
    """
    asked = str(uri)
    names = shipped(weights)
    if asked in names:
        return str(SHIPPED / asked)
    if "://" not in asked and not Path(asked).is_dir():
        known = ", ".join(names) or "none"
        raise ModelError(f"model {asked!r}: neither a shipped model ({known}) nor a folder nor an object-store URI")
    return asked


def read_files(place: str | Path, asked: str, limits: Mapping[str, int]) -> dict[str, bytes]:
    """The bytes of the files that `limits` names (file -> most bytes) in a folder or under an object-store URI.

    Raises ModelError, naming the package as `asked`, where one is missing, larger than its limit, or cannot be read.
    """
    from gridscribe.store import open_store

    found = {}
    try:
        store = open_store(place)
        for key, limit in limits.items():
            size = store.head(key).size
            if size > limit:
                raise ModelError(f"model {asked}: {key} has {size} bytes, the limit is {limit}")
            found[key] = store.get(key)
    except MissingObjectError as error:
        raise ModelError(f"model {asked}: a package needs {' and '.join(limits)}; {error}") from error
    except StoreError as error:
        raise ModelError(f"model {asked}: cannot be read: {error}") from error
    return found


def stated_format(uri: str | Path) -> str | None:
    """What the `model.json` of a shipped package, a folder or an object-store URI says it is; None where none says so.

    Whatever is wrong with it is left for the loader to say.
    """
    asked = str(uri)
    own = SHIPPED / asked
    place = str(own) if own.parent == SHIPPED and own.is_dir() else asked
    if "://" not in place and not Path(place).is_dir():
        return None
    try:
        stated = json.loads(read_files(place, asked, {MODEL_FILE: JSON_LIMIT})[MODEL_FILE])["format"]
    except (ModelError, KeyError, TypeError, ValueError):
        return None
    return stated if isinstance(stated, str) else None


def check_unchanged(uri: str, found: str, planned: str) -> None:
    """Raises ModelError where the digest of the package at `uri` is not the one that a job was planned with."""
    if found != planned:
        raise ModelError(
            f"model {uri}: digest {found[:16]} is not the product's {planned[:16]}; the package changed after the job was planned"
        )


def encode(document: Mapping[str, Any]) -> bytes:
    """`model.json` as it is written."""
    return json.dumps(document, indent=2).encode() + b"\n"


def canonical(document: Mapping[str, Any]) -> bytes:
    """`model.json` in the one form that digests are taken of: layout and order of keys do not matter."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(document: Mapping[str, Any], weights: bytes = b"") -> str:
    """sha256, hex, over the length of the canonical document, the document, and the bytes of the weights."""
    described = canonical(document)
    return hashlib.sha256(len(described).to_bytes(8, "big") + described + weights).hexdigest()


def stated_bytes(file: str, data: bytes) -> dict[str, Any]:
    """What `model.json` says of a file beside it."""
    return {"file": file, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def check_bytes(stated: Mapping[str, Any], data: bytes, where: str) -> None:
    """Raises ModelError where a file is not the one that `model.json` states (see `stated_bytes`)."""
    found = hashlib.sha256(data).hexdigest()
    if (stated["bytes"], stated["sha256"]) != (len(data), found):
        raise ModelError(
            f"{where} has {len(data)} bytes of sha256 {found}; {MODEL_FILE} names {stated['bytes']} of {stated['sha256']}: "
            "damaged, or of another package"
        )


def three(values: Any, where: str, least: float, most: float) -> tuple[float, float, float]:
    """A number for each of R, G, B; ModelError where they are not three, or outside of `least` to `most`."""
    found = [float(v) for v in values]
    if len(found) != 3 or not all(least <= v <= most for v in found):
        raise ModelError(f"{where} is {values}; it must be three numbers in {least:g}..{most:g}, for R, G, B in 0..1")
    return found[0], found[1], found[2]


def decoded(described: bytes, uri: str, wanted: str, what: str) -> dict[str, Any]:
    """`model.json` as data. Raises ModelError where it is none, or of another format than `wanted`, that of `what`."""
    try:
        document = json.loads(described)
        stated = document["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"model {uri}: {MODEL_FILE} is not a {wanted} description: {error!r}") from error
    if stated != wanted:
        raise ModelError(f"model {uri}: format is {stated!r}; {what} has {wanted!r}")
    return dict(document)


def write_files(folder: Path, files: Mapping[str, bytes | None], described: bytes) -> None:
    """Put down a new package, `model.json` last.

    Raises UsageError where `folder` holds a model already, ValueError where the bytes of a file are not at hand.
    """
    if (folder / MODEL_FILE).exists():
        raise UsageError(f"{folder} holds a {MODEL_FILE} already; choose another folder")
    missing = [name for name, data in files.items() if data is None]
    if missing:
        raise ValueError(f"a package is written whole, and it was read without {', '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data or b"")
    (folder / MODEL_FILE).write_bytes(described)


def rgb_input(side: int, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """STAC MLM's description of an input of R, G, B in squares of `side`; `mean` and `std` are in 0..1."""
    return {
        "name": "RGB",
        "description": "red, green, blue in 0..255",
        "bands": list(RGB),
        "input": {
            "shape": [-1, len(RGB), side, side],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": 255 * m, "stddev": 255 * s} for m, s in zip(mean, std, strict=True)
        ],
    }


def vector_output(task: str, axes: Mapping[str, int]) -> dict[str, Any]:
    """STAC MLM's description of an output of vectors: `axes` are names and sizes, -1 for any."""
    return {
        "name": "embedding",
        "tasks": [task],
        "result": {"shape": list(axes.values()), "dim_order": list(axes), "data_type": "float32"},
    }
