"""What the profile command shows and draws."""

from dtfl_private.cli.output import output
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.profile import round_times_s
from dtfl_private.report.tables.costs import cost_table, round_time_table, step_time_table
from dtfl_private.report.tables.networks import cuts_table
from dtfl_private.simulation.clients.profiles import load_profiles
from dtfl_private.simulation.costs.cut_costs import CutChoice
from dtfl_private.simulation.costs.table import TierTable


def drawn_costs(config: TrainConfig, costs: TierTable, choice: CutChoice | None) -> bytes:
    """Return the PNG picture of a network's costs at its own cuts, and at those that were chosen."""
    # matplotlib takes most of a second to load: only where a picture is asked for.
    from dtfl_private.report.pictures.costs import cost_picture

    tables = {"own cuts": costs}
    if choice is not None:
        tables["automatic cuts"] = choice.tiers(choice.chosen)
    return cost_picture(
        tables,
        title=config.model,
        batch_size=config.batch_size,
        cpu_macs_per_s=config.cpu_gmacs * 1e9,
        server_macs_per_s=config.cpu_gmacs * 1e9 * config.server_cpus,
    )


def show_profile(
    config: TrainConfig, costs: TierTable, input_shape: str, images: int, choice: CutChoice | None
) -> None:
    """Show a network's costs, the time of a step and of a round, and where else it can be cut."""
    answer = output()
    cpu, server = config.cpu_gmacs * 1e9, config.cpu_gmacs * 1e9 * config.server_cpus
    title = f"{config.model}, inputs {input_shape}, {config.precision}"
    answer.show(cost_table(costs, title=title, batch_size=config.batch_size))
    answer.show(step_time_table(costs, batch_size=config.batch_size, cpu_macs_per_s=cpu, server_macs_per_s=server))
    profiles = load_profiles(config.profiles)
    times = round_times_s(
        costs,
        profiles,
        link_unit=config.link_unit,
        images=images,
        cpu_macs_per_s=cpu,
        server_macs_per_s=server,
    )
    title = f"simulated time of a round of {images} images, link unit {config.link_unit}"
    answer.show(round_time_table(times, costs.tiers_M, profiles, title=title))
    if choice is not None:
        answer.show(cuts_table(choice, title=f"where {config.model} can be cut"))
