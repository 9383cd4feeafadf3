"""From a user's CLIP file to an alignment package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.clip.activation import choose_activation
from gridscribe.models.clip.architecture import check_config
from gridscribe.models.clip.checkpoint import CONFIG_FILE, ClipCheckpoint, read_clip
from gridscribe.models.clip.inferring import infer_config
from gridscribe.models.clip.package import AlignmentPackage, assemble, write
from gridscribe.models.clip.probe import Probe
from gridscribe.models.clip.towers import build_image_tower, build_text_tower


def package_clip(
    source: str | Path,
    folder: Path,
    *,
    name: str | None = None,
    description: str = "",
    quick_gelu: bool | None = None,
    gsd: tuple[float, float] | None = None,
    probe: Callable[[int], Probe] | None = None,
) -> AlignmentPackage:
    """Read the CLIP file `source` (see `read_clip`), check that its towers build, and write a package into `folder`.

    The activation comes from `quick_gelu`, the file's `open_clip_config.json`, or `probe`, in this order; a probe beside a
    statement is refused, as are two statements that differ. `probe` is asked for labelled images of so many pixels a side.
    Raises ModelError where none of them gives it, where the weights do not fit the architecture or float16, and for
    everything that `read_clip` refuses; UsageError where `folder` holds a model already.
    """
    where = f"checkpoint {source}"
    checkpoint = read_clip(source)
    config, heads = _config(checkpoint, where)
    stated, by = _stated_activation(config["quick_gelu"], quick_gelu, where)
    if stated is not None and probe is not None:
        raise UsageError(f"{where}: the activation is stated ({by}); leave out the probe, or the statement")
    if stated is None and probe is None:
        raise ModelError(
            f"{where}: says nothing of its activation, QuickGELU or GELU, which weights do not show and which spoils every "
            "answer where it is wrong. State it with --quick-gelu (OpenAI's own CLIP, and what was fine-tuned from it with "
            "QuickGELU) or --no-quick-gelu, or let labelled images decide with --probe (choose_activation)"
        )
    facts: dict[str, Any] = {
        "name": name or Path(checkpoint.name).stem,
        "description": description,
        **_preprocessing(checkpoint, where),
        "logit_scale": checkpoint.logit_scale,
        "gsd": gsd,
        "uri": str(source),
    }
    origin: dict[str, Any] = {
        "file": checkpoint.name,
        "sha256": checkpoint.sha256,
        "form": checkpoint.form,
        "heads": heads,
        "activation": by,
    }

    def assembled(quick: bool) -> tuple[AlignmentPackage, bytes]:
        architecture = {**config, "quick_gelu": quick}
        return assemble(checkpoint.image, checkpoint.text, architecture=architecture, source=origin, **facts)

    if probe is not None:
        undecided, _ = assembled(False)
        known = probe(undecided.window)
        choice = choose_activation(undecided, known.images, known.labels, known.texts)
        stated, origin["activation"] = choice.quick_gelu, {"probe": choice.to_json()}
    package, described = assembled(bool(stated))
    build_image_tower(package)
    build_text_tower(package)
    write(folder, package, described)
    return replace(package, uri=str(folder))


def _config(checkpoint: ClipCheckpoint, where: str) -> tuple[dict[str, Any], str]:
    if checkpoint.model_cfg is not None:
        return check_config(checkpoint.model_cfg, where), CONFIG_FILE
    image, text = ({n: a.shape for n, a in state.items()} for state in (checkpoint.image, checkpoint.text))
    config, heads = infer_config(image, text, where)
    return check_config(config, where), heads


def _stated_activation(inside: bool | None, given: bool | None, where: str) -> tuple[bool | None, str]:
    if inside is not None and given is not None and inside is not given:
        raise UsageError(
            f"{where}: {CONFIG_FILE} says quick_gelu={inside}, the argument says {given}; correct the one that is wrong"
        )
    if inside is not None:
        return inside, f"stated in {CONFIG_FILE}"
    return given, "" if given is None else "stated when packaged"


def _preprocessing(checkpoint: ClipCheckpoint, where: str) -> dict[str, Any]:
    """Mean and deviation of the bands as stated, else those of the paper's images, which open_clip takes by default."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    found = {}
    for key, default in (("mean", OPENAI_DATASET_MEAN), ("std", OPENAI_DATASET_STD)):
        value = checkpoint.preprocess_cfg.get(key, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, (int, float)) for v in value):
            raise ModelError(f"{where}: {CONFIG_FILE} preprocess_cfg.{key}={value!r}: must be three numbers")
        found[key] = tuple(value)
    return found
