"""Generated scenes to train on and to examine with, in folders of a work folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gridscribe.ingest.scenes import write_scenes


@dataclass(frozen=True, slots=True)
class MadeScenes:
    """Which scenes: by (seed, count) those to train on and those held out."""

    train: tuple[int, int]
    held_out: tuple[int, int]
    size: int
    gsd: float | tuple[float, float]
    """Metres per pixel; of two, drawn evenly on a log scale between them."""

    def in_folder(self, work_dir: Path) -> tuple[Path, Path]:
        """Folders of training and held-out scenes; made once."""
        folders = work_dir / "train-scenes", work_dir / "held-out-scenes"
        for folder, (seed, count) in zip(folders, (self.train, self.held_out), strict=True):
            if not (folder / "complete").exists():
                write_scenes(folder, count, seed, self.size, self.gsd)
                (folder / "complete").touch()
        return folders
