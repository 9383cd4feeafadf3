"""A segmentor as one function of raw pixels: what engines compile."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Predictor(nn.Module):
    """Raw windows in, class probabilities out: preprocessing, network, upsampling and softmax in one graph.

    In: float32 [B, 4, H, W], R, G, B in 0..255 and height in metres with NaN = missing. Out: float32 [B, classes, H, W].
    """

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, raw: Tensor) -> Tensor:
        """See the class."""
        network: Any = self.network
        logits = network.decode_head(network.backbone(network.data_preprocessor.normalise(raw)))
        logits = F.interpolate(logits.float(), size=raw.shape[2:], mode="bilinear", align_corners=network.align_corners)
        if self.temperature != 1:
            logits = logits / self.temperature
        return torch.softmax(logits, dim=1)


def traced(network: nn.Module, batch: int, window: int, temperature: float = 1.0) -> torch.jit.ScriptModule:
    """The predictor of `network` traced at one input shape."""
    example = torch.zeros(batch, 4, window, window)
    example[:, 3, : window // 2] = float("nan")
    with torch.no_grad(), warnings.catch_warnings():
        # torch announces other tracers, which OpenVINO converts less well; and sizes are to be constants of the graph
        for kind in (FutureWarning, torch.jit.TracerWarning):
            warnings.simplefilter("ignore", kind)
        predictor = Predictor(network, temperature).eval()
        return cast(torch.jit.ScriptModule, torch.jit.trace(predictor, example, check_trace=False))
