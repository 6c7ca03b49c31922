"""What a comparison leaves on disk: compare.json and pictures."""

import json

from dtfl_private.report.comparison.document import as_json
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.pictures.comparison import accuracy_picture, group_styles, target_picture
from dtfl_private.report.pictures.method_leakage import method_leakage_picture
from dtfl_private.report.pictures.saving import PictureForm


def comparison_files(comparison: Comparison, form: PictureForm = "png") -> dict[str, bytes]:
    """Return the content of each file by its name: compare.json, pictures of accuracy, time to target, leakage."""
    styles = group_styles(comparison)
    several = len(comparison.settings) > 1
    files = {"compare.json": (json.dumps(as_json(comparison), indent=2, allow_nan=False) + "\n").encode()}
    for number, setting in enumerate(comparison.settings, start=1):
        name = f"accuracy-{number}.{form}" if several else f"accuracy.{form}"
        files[name] = accuracy_picture(setting, styles, form)
        if any(group.exposures for group in setting.groups):
            name = f"method-leakage-{number}.{form}" if several else f"method-leakage.{form}"
            files[name] = method_leakage_picture(setting, styles, form)
    if any(setting.target is not None for setting in comparison.settings):
        files[f"time-to-target.{form}"] = target_picture(comparison, styles, form)
    return files
