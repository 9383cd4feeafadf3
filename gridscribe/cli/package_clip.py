"""`gridscribe package-clip`: a model package from a user's CLIP file."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click


@click.command("package-clip")
@click.argument("file")
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Write the package here."
)
@click.option(
    "--quick-gelu/--no-quick-gelu",
    default=None,
    help="The towers' activation; weights do not show it. QuickGELU: OpenAI's own CLIP and what was fine-tuned from it.",
)
@click.option(
    "--probe",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Let labelled images decide the activation: a folder with a folder of images for each label.",
)
@click.option("--name", help="Name of the model. Default: that of the file.")
@click.option(
    "--gsd", nargs=2, type=float, metavar="LEAST MOST", help="Metres per pixel of the images that it is meant for."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    file: str,
    folder: Path,
    quick_gelu: bool | None,
    probe: Path | None,
    name: str | None,
    gsd: tuple[float, float] | None,
    as_json: bool,
) -> None:
    """Make a package, from which images are matched with text, of the CLIP weights in FILE.

    \b
      gridscribe package-clip FarSLIP2_ViT-B-16.pt --to farslip2 --quick-gelu
      gridscribe package-clip s3://models/RemoteCLIP-ViT-L-14.pt --to remoteclip --probe labelled-images

    FILE is a path or URI: an open_clip training file, a bare state dict, safetensors, or a folder with
    open_clip_config.json; ViT towers alone. Nothing in it is executed.
    """
    from gridscribe.cli.results import stdout_for_results
    from gridscribe.models.clip.converting import package_clip
    from gridscribe.models.clip.probe import read_probe

    with stdout_for_results():
        package = package_clip(
            file,
            folder,
            name=name,
            quick_gelu=quick_gelu,
            gsd=gsd or None,
            probe=None if probe is None else partial(read_probe, probe),
        )
    facts = {
        "name": package.name,
        "digest": package.digest,
        "architecture": package.architecture,
        "gsd": package.gsd,
        "source": package.source,
        "folder": str(folder),
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    vision = package.architecture["vision_cfg"]
    click.echo(
        f"{package.name}: {package.source['form']}\n"
        f"  ViT of {vision['layers']} layers of {vision['width']}, patch {package.patch}, {package.window} px, "
        f"{vision['width'] // vision['head_width']} heads ({package.source['heads']})\n"
        f"  embeddings of {package.embed_dim}, phrases of up to {package.context_length} tokens\n"
        f"  {'QuickGELU' if package.quick_gelu else 'GELU'} ({_how(package.source['activation'])})\n"
        f"  in {folder}, digest {package.digest[:16]}"
    )


def _how(activation: object) -> str:
    if not isinstance(activation, dict):
        return str(activation)
    probe = activation["probe"]
    return (
        f"by {probe['images']} labelled images: accuracy {probe['accuracy_quick_gelu']:.3f} with QuickGELU, "
        f"{probe['accuracy_gelu']:.3f} with GELU; by chance with probability {probe['chance']:.2g}"
    )
