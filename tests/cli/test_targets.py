"""Files that the user names for results."""

import json
import os
import stat


def test_a_file_to_write_may_be_a_link_or_a_pipe_and_stays_one(dtfl, tmp_path):
    link, target, pipe = tmp_path / "link.json", tmp_path / "target.json", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    assert dtfl("profile", "--repeats", 0, "--json", link).status == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["rows"]
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # a reader, so that writing does not wait
    assert dtfl("profile", "--repeats", 0, "--json", pipe).status == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(descriptor)
