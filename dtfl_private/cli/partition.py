"""The partition command."""

from typing import Any

import click

from dtfl_private.cli.command import GroupedCommand
from dtfl_private.cli.config_options import config_options, typed_config
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import json_file_option
from dtfl_private.cli.targets import check_targets, write_file, write_json
from dtfl_private.printable import one_line
from dtfl_private.report.words.numbers import number_of

PARTITION_FIELDS = (
    *("dataset", "data_dir", "download", "max_train_images", "validation", "validation_held_by"),
    *("partition", "clients", "seed"),
)


@click.command(cls=GroupedCommand)
@config_options(PARTITION_FIELDS)
@click.option("--plot", metavar="FILE.png", help="also draw the distribution as a PNG picture")
@json_file_option("the counts")
def partition(plot: str | None, json_file: str | None, **options: Any) -> None:
    """Show who gets which training images, as `train` would deal them out.

    Images per client and class; the effective number of classes (exp of the labels' entropy); the distance of each
    client's labels to those of all images (total variation).

    \b
    Examples:
      dtfl-private partition --partition dirichlet:0.3 --clients 20
      dtfl-private partition --dataset fashion-mnist --partition shards:2 --clients 100 --plot shards.png
    """
    from dtfl_private.experiments.partition import partition as make_partition
    from dtfl_private.report.pictures.distribution import distribution_picture
    from dtfl_private.report.tables.distribution import distribution_table, spread_table

    check_targets(json_file, picture=plot)
    config = typed_config(options)
    spread = make_partition(config)
    dealt = f"{spread.sizes_K.sum():,} training images, {number_of(config.clients, 'client')}"
    title = f"{config.dataset}, {dealt}, {config.partition}"
    for note in spread.notes:
        click.echo(f"note: {one_line(note)}", err=True)
    if plot is not None:
        write_file(plot, distribution_picture(spread.counts_KC, spread.classes, title=title))
    if json_file is not None:
        counts = {"classes": spread.classes, "counts": spread.counts_KC.tolist()}
        write_json(json_file, {"dataset": config.dataset, "partition": config.partition, "seed": config.seed, **counts})
    figures = (spread.effective_classes_K, spread.distance_K)
    output().show(
        distribution_table(spread.counts_KC, *figures, spread.classes, title=title),
        spread_table(spread.sizes_K, *figures),
    )
