"""The fusion segmentor as MMSegmentation sees it: importing this module registers every piece that a config may name."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about compiled operators that nothing here uses
    import mmseg.models  # noqa: F401  (registers EncoderDecoder, SegformerHead and the losses)

from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from gridscribe.fusion.bottleneck import BottleneckFusion
from gridscribe.models.head import LateralSegformerHead
from gridscribe.models.mit import EarlyFusionMiT, TwoStreamMiT
from gridscribe.models.preprocess import RGBHPreprocessor

__all__ = [
    "BottleneckFusion",
    "EarlyFusionMiT",
    "LateralSegformerHead",
    "RGBHPreprocessor",
    "TwoStreamMiT",
    "build_segmentor",
]


def build_segmentor(architecture: dict[str, Any]) -> nn.Module:
    """Builds an MMSegmentation segmentor from its config as plain data, with random weights."""
    init_default_scope("mmseg")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Default ``avg_non_ignore`` is False")
        return MODELS.build(architecture)
