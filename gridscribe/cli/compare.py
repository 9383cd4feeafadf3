"""`gridscribe compare`: the fusion benchmark."""

from __future__ import annotations

from pathlib import Path

import click

STRATEGIES = "rgb height early feature late cross timf cmx edft cmnext tokenfusion dformer"


@click.command("compare")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Generated scenes to train on.",
)
@click.option(
    "--held-out",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Generated scenes to score on.",
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Results and table go here."
)
@click.option(
    "--strategies", default=STRATEGIES, show_default=True, help="Names of training configs, separated by spaces."
)
@click.option(
    "--encoders",
    default="mit-b0",
    show_default=True,
    help="Separated by spaces; RGB+HEIGHT for two kinds, as resnet18+mit-b0.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds 0..N-1 of each.")
@click.option("--steps", type=click.IntRange(min=2), default=1000, show_default=True)
@click.option(
    "--crop", type=click.IntRange(min=32), default=128, show_default=True, help="Pixels a side of a training crop."
)
@click.option("--batch", type=click.IntRange(min=2), default=8, show_default=True)
@click.option(
    "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="float32", show_default=True,
    help="float32 is the same on every machine.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs side by side.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads of each run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    data: Path,
    held_out: Path,
    output: Path,
    strategies: str,
    encoders: str,
    seeds: int,
    steps: int,
    crop: int,
    batch: int,
    precision: str,
    jobs: int,
    threads: int,
    as_json: bool,
) -> None:
    """Train and score fusion strategies with one budget, and write one table.

    \b
      gridscribe scenes train --count 240 --seed 1001 --size 768 && gridscribe scenes held --count 24 --seed 2002 --size 768
      gridscribe compare --data train --held-out held --output benchmark --strategies "rgb early timf" --jobs 2

    Each run leaves a small JSON in OUTPUT/runs and its model in OUTPUT/packages; stop it and start it again, or call it with
    other strategies or encoders: what is there is not run again. Last, speeds are measured one by one. The table stands in
    OUTPUT/benchmark.md and OUTPUT/benchmark.json, the courses of the losses in OUTPUT/curves.png.
    """
    from gridscribe.errors import GridscribeError
    from gridscribe.pipelines.benchmark_table import draw_curves, markdown, summarise
    from gridscribe.pipelines.compare import TABLE, Budget, compare, costs, plan_runs, results
    from gridscribe.pipelines.resumable import write_whole
    from gridscribe.progress import reporter

    budget = Budget(str(data), str(held_out), "scenes", steps, crop, batch, precision, threads)
    runs = plan_runs(strategies.split(), [pair.split("+") for pair in encoders.split()], range(seeds), budget)
    report = reporter()

    def write_table(*, measure: bool) -> None:
        """Of everything in OUTPUT."""
        found = list(results(output).values())
        measured = costs(found, output, measured_only=not measure)
        rows = summarise(found, measured)
        (output / "benchmark.md").write_text(markdown(rows))
        write_whole(output / TABLE, {"rows": rows, "costs": measured, "runs": found})
        (output / "curves.png").write_bytes(draw_curves(found))

    failed = []
    for number, (run, result) in enumerate(compare(runs, output, jobs), 1):
        if isinstance(result, GridscribeError):
            failed.append(run.name)
            report.say(f"{number}/{len(runs)} {result}")
            continue
        report.say(f"{number}/{len(runs)} {run.name}: mIoU {result['metrics']['miou']:.3f}, {result['seconds']:.0f} s")
        write_table(measure=False)
    if results(output):
        write_table(measure=True)
        click.echo((output / (TABLE if as_json else "benchmark.md")).read_text())
    if failed:
        raise GridscribeError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; the same command tries them again"
        )
