"""What a checkpoint says of its images' mean and deviation, which no run follows of itself."""

from pathlib import Path

from dtfl_private.files import reading
from dtfl_private.models.pretrained.vit_config import VitConfig

FILE = "preprocessor_config.json"
LARGEST_FILE_BYTES = 2**20


def scale_notes(folder: Path, config: VitConfig) -> tuple[str, ...]:
    """Return what a user should know: by what the images were normalised that the network was trained on.

    A client's images are normalised as the run's configuration says, since what is sent for it is part of what leaks.
    """
    if not (folder / FILE).exists():
        return ()
    followed = f"{FILE} of {folder} is not followed: images are normalised as --normalization says"
    scales = [_by_channel(folder, name, config.num_channels) for name in ("image_mean", "image_std")]
    if None in scales:
        return (followed,)
    mean, deviation = scales
    return (f"{followed}; as the checkpoint's: --normalization constants:mean={mean},std={deviation}",)


def _by_channel(folder: Path, name: str, channels: int) -> str | None:
    """Return one number for each channel as the option takes them; None where the file has nothing of the kind."""
    try:
        found = reading.read_json(folder / FILE, most_bytes=LARGEST_FILE_BYTES)
        values = found[name]
        if len(values) == channels and all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
            return "/".join(f"{value:g}" for value in values)
    except (OSError, ValueError, TypeError, KeyError):  # nobody computes with it: it is only not shown
        pass
    return None
