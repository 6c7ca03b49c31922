"""What a server knows of its clients' images before they have come back."""

import json
from datetime import UTC, datetime

from dtfl_private.deployed.server.resumption import completed, images_before
from dtfl_private.deployed.sessions_file import ClientSession, Sessions, write_sessions
from dtfl_private.experiments.run_folder.folder import RunFolder


def test_images_are_those_that_were_said_last_or_at_the_start_or_as_many_as_usual(tmp_path):
    folder, now = RunFolder(path=tmp_path), datetime.now(UTC)
    assert images_before(None, 2).tolist() == images_before(tmp_path, 2).tolist() == [0, 0]
    folder.environment.write_text(json.dumps({"images": [3, 0, 0]}))
    came_late, never = ClientSession(client=1, connected=False, images=5), ClientSession(client=2, connected=False)
    write_sessions(
        folder, Sessions(listening="a:1", started=now, updated=now, phase="waiting", clients=[came_late, never])
    )
    assert images_before(tmp_path, 3).tolist() == [3, 5, 0]
    assert completed(images_before(tmp_path, 3)).tolist() == [3, 5, 4]
    folder.sessions.write_text("{}")  # nothing depends on it
    assert images_before(tmp_path, 3).tolist() == [3, 0, 0]
