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
from gridscribe.fusion.cmx import CMXFusion
from gridscribe.fusion.cross import CrossFusion
from gridscribe.fusion.depth_attention import DepthAwareAttention
from gridscribe.fusion.feature import FeatureFusion
from gridscribe.fusion.geometry import GeometryAttention
from gridscribe.fusion.token_exchange import TokenExchange
from gridscribe.models.backbones import SingleStream, TwoStreams
from gridscribe.models.encoders import HeightPyramid, LightEncoder, MiTEncoder, PatchPyramid, ResNetEncoder
from gridscribe.models.head import LateFusionHead, LateralSegformerHead
from gridscribe.models.preprocess import RGBHPreprocessor
from gridscribe.models.swin import SwinEncoder

__all__ = [
    "BottleneckFusion",
    "CMXFusion",
    "CrossFusion",
    "DepthAwareAttention",
    "FeatureFusion",
    "GeometryAttention",
    "HeightPyramid",
    "LateFusionHead",
    "LateralSegformerHead",
    "LightEncoder",
    "MiTEncoder",
    "PatchPyramid",
    "RGBHPreprocessor",
    "ResNetEncoder",
    "SingleStream",
    "SwinEncoder",
    "TokenExchange",
    "TwoStreams",
    "build_segmentor",
]


def build_segmentor(architecture: dict[str, Any]) -> nn.Module:
    """Builds an MMSegmentation segmentor from its config as plain data, with random weights."""
    init_default_scope("mmseg")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Default ``avg_non_ignore`` is False")
        return MODELS.build(architecture)
