import pytest

from dtfl_private.plugins.descriptions import described


@pytest.mark.usefixtures("noise")
def test_described_gives_name_settings_and_first_line():
    row = next(row for row in described("defense") if row[0] == "gaussian-noise")
    assert row == ("gaussian-noise", "scale, kind=normal, per_channel=False, min_batch=2", "Add noise.")
