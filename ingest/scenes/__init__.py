"""Generated RGB + height scenes with labels and named objects; see `generate_scene` and `write_scenes`."""

from __future__ import annotations

from .classes import CLASSES, SceneClass
from .light import Sun
from .render import Scene, generate_scene
from .writer import write_scenes

__all__ = ["CLASSES", "Scene", "SceneClass", "Sun", "generate_scene", "write_scenes"]
