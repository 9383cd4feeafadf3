"""Weights of others as a network's first ones: into one stream, or a whole segmentor's into backbone and head.

An encoder is filled whole or not at all: a checkpoint that lacks one of its weights, has one of another shape, or comes from
a deeper encoder is refused with names and shapes. What has to be adapted, the first convolution where the stream sees
other channels than three, is adapted by a stated rule (`_adapt_stem`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.backbones import CHANNELS, SingleStream
from gridscribe.models.checkpoint_file import CheckpointFile
from gridscribe.models.layouts import Layout, Tensors, layout_of
from gridscribe.models.pretrained_report import Adapted, Mismatched, Report, reasons
from gridscribe.models.weights import UNUSED

WHOLE = "all"
TARGETS = (*CHANNELS, WHOLE)
"""What a checkpoint may go into."""
_DEEPER = re.compile(r"(layers|stages|block|encoder\.block|layer\d|block\d)\b")  # where a bigger encoder has more
_HEAD = "decode_head."
_OWN = tuple(f"backbone.{part}." for part in ("encoder", *CHANNELS))  # of gridscribe's own checkpoints
_RGB, _HEIGHT, _VALIDITY = range(3), 3, 4  # channels of the network's input (see `RGBHPreprocessor`)


def load_pretrained(network: Any, given: Mapping[str, CheckpointFile]) -> tuple[Report, ...]:
    """Fill parts of `network`, a segmentor with a `TwoStreams` or `SingleStream` backbone; the rest stays as it is.

    `given` maps `rgb` or `height` (the stream that sees it) to a checkpoint of an encoder, or of a segmentor whose backbone
    is taken; or `all` to a whole segmentor: one of this network's own layout fills backbone and head, one of
    MMSegmentation's fills the encoder of RGB (the only one of a `SingleStream`), and the head as far as shapes agree. Returns a
    report of each. Raises UsageError for targets that this network has not or that exclude each other, ModelError where a
    file does not fit; the network is unchanged then.
    """
    _check_targets(network.backbone, given)
    reports, state = [], {}
    for into, file in given.items():
        report, found = _whole(network, file) if into == WHOLE else _stream(network, into, file)
        reports.append(report)
        state.update(found)
    network.load_state_dict(state, strict=False)
    return tuple(reports)


def is_own(file: CheckpointFile) -> bool:
    """Whether the file is a checkpoint or package of gridscribe's own."""
    return any(name.startswith(_OWN) for name in file.tensors)


def _check_targets(backbone: nn.Module, given: Mapping[str, CheckpointFile]) -> None:
    for into in set(given) - set(TARGETS):
        raise UsageError(f"pretrained {into!r}: must be one of {', '.join(TARGETS)}")
    if isinstance(backbone, SingleStream):
        for into in set(given) - {WHOLE}:
            if CHANNELS[into] not in backbone.parts:
                raise UsageError(f"pretrained {into!r}: this network does not see {into}")
        if len(given) > 1:
            raise UsageError(f"pretrained {', '.join(given)}: this network has one encoder; give one checkpoint")
    elif {"rgb", WHOLE} <= set(given):
        raise UsageError(f"pretrained rgb and {WHOLE}: both fill the RGB stream; give one of them")
    elif len({file.sha256 for file in given.values()}) > 1 and _shared(backbone):
        raise UsageError("pretrained: the streams of this network share their weights; give both the same checkpoint")


def _shared(backbone: Any) -> bool:
    return bool({id(p) for p in backbone.rgb.parameters()} & {id(p) for p in backbone.height.parameters()})


def _encoder(backbone: Any, into: str) -> tuple[str, Any, list[int]]:
    """Prefix in the network's names, module, and channels of the network's input that it sees."""
    if isinstance(backbone, SingleStream):
        return (
            "backbone.encoder.",
            backbone.encoder,
            [c for part in backbone.parts for c in range(part.start, part.stop)],
        )
    part = CHANNELS[into]
    return f"backbone.{into}.", getattr(backbone, into), list(range(part.start, part.stop))


def _of_encoder(tensors: Mapping[str, Tensor], into: str) -> tuple[Tensors, list[str]]:
    """The encoder's weights in a file, by names of their own, and the names of all others."""
    for prefix in (f"backbone.{into}.", "backbone.encoder.", "backbone.", "segformer.", ""):
        found = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        if found:
            return found, [name for name in tensors if not name.startswith(prefix)]
    return {}, list(tensors)


def _stream(network: Any, into: str, file: CheckpointFile) -> tuple[Report, Tensors]:
    prefix, encoder, channels = _encoder(network.backbone, into)
    where = f"checkpoint {file.path}"
    wanted = {name: t for name, t in encoder.state_dict().items() if not name.endswith(UNUSED)}
    if not wanted:
        raise UsageError(
            f"{where}: the {into} stream of this network, {type(encoder).__name__}, has no weights to fill"
        )
    tensors, others = _of_encoder(file.tensors, into)
    layout = layout_of(tensors)
    if layout.encoder not in ("", type(encoder).__name__):
        raise ModelError(
            f"{where}: holds {layout.title}; the {into} encoder of this network is {type(encoder).__name__}"
        )
    others += [name for name in tensors if re.match(layout.unused, name)]
    found = layout.convert({name: t for name, t in tensors.items() if not re.match(layout.unused, name)})
    adapted = _adapt_stem(found, wanted, layout, channels)
    matched, missing, mismatched = _compare(found, wanted)
    unexpected = tuple(sorted(set(found) - set(wanted)))
    wrong = {
        "weights missing": tuple(name for name in missing if not re.match(layout.optional, name)),
        "of another shape": mismatched,
        "more than the encoder has": tuple(name for name in unexpected if _DEEPER.match(name)),
    }
    if any(wrong.values()):
        raise ModelError(
            f"{where}: {layout.title} does not fit the {into} encoder of this network, {_title(encoder)}: {reasons(wrong)}"
        )
    notes: tuple[str, ...] = ()
    if not isinstance(network.backbone, SingleStream) and _shared(network.backbone):
        notes = ("the streams share these weights, except for first layers and norms",)
    report = Report(
        into=into,
        file=file.name,
        sha256=file.sha256,
        layout=layout.title,
        matched=tuple(prefix + name for name in matched if name not in {one.name for one in adapted}),
        adapted=tuple(replace(one, name=prefix + one.name) for one in adapted),
        missing=tuple(prefix + name for name in missing),
        unexpected=unexpected,
        mismatched=(),
        unused=(*others, *file.others),
        notes=notes,
    )
    return report, {prefix + name: found[name] for name in matched}


def _title(encoder: Any) -> str:
    """What tells one encoder of its kind from another."""
    kind = type(encoder).__name__
    return f"{kind} of depth {encoder.depth}" if hasattr(encoder, "depth") else f"{kind} of widths {encoder.widths}"


def _compare(found: Tensors, wanted: Tensors) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Mismatched, ...]]:
    """Names of equal shapes, names not found, and those of other shapes."""
    shapes = {name: (tuple(found[name].shape), tuple(t.shape)) for name, t in wanted.items() if name in found}
    matched = tuple(name for name, (one, other) in shapes.items() if one == other)
    missing = tuple(name for name in wanted if name not in found)
    return matched, missing, tuple(Mismatched(name, *pair) for name, pair in shapes.items() if pair[0] != pair[1])


def _adapt_stem(found: Tensors, wanted: Tensors, layout: Layout, channels: list[int]) -> tuple[Adapted, ...]:
    """Fit the first convolution, made for R, G, B, to the `channels` of the network's input; changes `found`.

    Beside RGB, height takes the mean of the three kernels: where height is at its mean (0 once normalised), the encoder
    computes what it was trained to, and elsewhere its part of the variance is a ninth for grey images and at most a third (by
    Cauchy's inequality), so that activations keep their size. Height alone takes the sum of the kernels: the answer
    to a grey image of that brightness. The validity of height takes zeros: it is 1 almost everywhere, and any other
    kernel would shift all activations by a constant that the weights behind were never trained with. It learns from there.
    """
    kernel = found.get(layout.stem)
    if kernel is None or layout.stem not in wanted or kernel.ndim != 4 or kernel.shape[1] != len(_RGB):
        return ()
    if channels == list(_RGB) or wanted[layout.stem].shape[1] != len(channels):
        return ()
    with_rgb = set(_RGB) <= set(channels)
    fitted = kernel.new_zeros(len(kernel), len(channels), *kernel.shape[2:])
    for k, channel in enumerate(channels):
        if channel in _RGB:
            fitted[:, k] = kernel[:, channel]
        elif channel == _HEIGHT:
            fitted[:, k] = kernel.mean(1) if with_rgb else kernel.sum(1)
    found[layout.stem] = fitted
    height = "its mean over R, G and B" if with_rgb else "its sum over R, G and B"
    kept = "R, G and B as they are; " if with_rgb else ""
    how = f"3 input channels to {len(channels)}: {kept}height takes {height}; validity of height takes zeros"
    return (Adapted(layout.stem, how),)


def _whole(network: Any, file: CheckpointFile) -> tuple[Report, Tensors]:
    if not any(name.startswith("backbone.") for name in file.tensors):
        raise ModelError(
            f"checkpoint {file.path}: not a whole segmentor: no name starts with 'backbone.'; "
            "an encoder's checkpoint goes into rgb or height"
        )
    return _own(network, file) if is_own(file) else _stock(network, file)


def _own(network: Any, file: CheckpointFile) -> tuple[Report, Tensors]:
    """A checkpoint of a network of this one's kind: the backbone must agree in all, the head may have other classes."""
    wanted = {name: t for name, t in network.state_dict().items() if not name.endswith(UNUSED)}
    found = dict(file.tensors)
    matched, missing, mismatched = _compare(found, wanted)
    unexpected = tuple(sorted(set(found) - set(wanted)))
    wrong: dict[str, tuple[Any, ...]] = {
        "weights missing": tuple(name for name in missing if not name.startswith(_HEAD)),
        "of another shape": tuple(one for one in mismatched if not one.name.startswith(_HEAD)),
        "more than the network has": tuple(name for name in unexpected if not name.startswith(_HEAD)),
    }
    if any(wrong.values()):
        raise ModelError(f"checkpoint {file.path}: does not fit this network: {reasons(wrong)}")
    report = Report(
        into=WHOLE,
        file=file.name,
        sha256=file.sha256,
        layout="gridscribe's own",
        matched=matched,
        adapted=(),
        missing=missing,
        unexpected=unexpected,
        mismatched=mismatched,
        unused=file.others,
    )
    return report, {name: found[name] for name in matched}


def _stock(network: Any, file: CheckpointFile) -> tuple[Report, Tensors]:
    """A segmentor of MMSegmentation's with one encoder and one head."""
    backbone = network.backbone
    into = "rgb"
    if isinstance(backbone, SingleStream) and CHANNELS["rgb"] not in backbone.parts:
        into = "height"
    report, state = _stream(network, into, file)
    place = f"{_HEAD}heads.0." if hasattr(network.decode_head, "heads") else _HEAD
    found = {place + n.removeprefix(_HEAD): t for n, t in file.tensors.items() if n.startswith(_HEAD)}
    own = network.state_dict()
    wanted = {name: t for name, t in own.items() if name.startswith(place) and not name.endswith(UNUSED)}
    matched, missing, mismatched = _compare(found, wanted)
    state.update({name: found[name] for name in matched})
    prefix = _encoder(backbone, into)[0]
    filled = (prefix, place)
    rest = [name for name in own if not name.startswith(filled) and not name.endswith(UNUSED)]
    parts = sorted({".".join(name.split(".")[: 3 if name.startswith(f"{_HEAD}heads") else 2]) for name in rest})
    report = replace(
        report,
        into=WHOLE,
        matched=report.matched + matched,
        missing=report.missing + missing,
        mismatched=mismatched,
        unexpected=report.unexpected + tuple(sorted(set(found) - set(wanted))),
        unused=tuple(name for name in report.unused if not (name.startswith(_HEAD) and name in file.tensors)),
        notes=report.notes + ((f"the file has nothing for {', '.join(parts)}",) if parts else ()),
    )
    return report, state
