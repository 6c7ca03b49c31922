"""What `profile --calibrate` shows: the engines that were found, and how well they predict."""

from dtfl_private.cli.output import output
from dtfl_private.experiments.calibration.checking import median_error
from dtfl_private.experiments.calibration.host import Calibration
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.report.tables.calibration import prediction_table
from dtfl_private.report.tables.profiles import engines_table, shares_table


def show_calibration(config: TrainConfig, calibration: Calibration, out: str) -> None:
    """Show a calibration, and where its profile was written."""
    answer = output()
    answer.show(engines_table([calibration.profile]), shares_table(calibration.profile))
    if calibration.steps:
        title = f"training steps of {config.batch_size}, predicted against measured, {config.precision}"
        answer.show(prediction_table(calibration.steps, title=title))
        answer.show_line(
            f"median error over {len(calibration.steps)} steps: {median_error(calibration.steps):.1%}; "
            f"fitted on synthetic layers and tiny networks, none of these networks; {', '.join(calibration.clocks)}"
        )
    if calibration.left_out:
        answer.show_line(f"too large to be measured here: {', '.join(calibration.left_out)}")
    if out != "-":
        answer.show_line(f"written: {out}; use it by --profiles {out}")
