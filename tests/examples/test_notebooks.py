"""The notebooks run from top to bottom, in one kernel, and are kept without outputs."""

import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))

# Longer than any of them takes even where everything else runs at the same time.
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[KernelManager]:
    """One kernel for all notebooks: loading torch takes longer than any of them."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    place = tmp_path_factory.mktemp("notebooks")
    environment |= {"IPYTHONDIR": str(place), "TMPDIR": str(place)}
    manager, client = start_new_kernel(kernel_name="python3", env=environment, cwd=str(place))
    client.stop_channels()
    run(manager, nbformat.v4.new_code_cell(AS_IN_TESTS))
    yield manager
    manager.shutdown_kernel(now=True)


def run(kernel, *cells):
    """Run cells in the kernel, where no name of other notebooks is left; return them with their outputs."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WITHOUT_NAMES), *cells])
    client = NotebookClient(book, km=kernel, timeout=TIMEOUT_S)
    try:
        client.execute()
    finally:
        client.kc.stop_channels()  # it leaves them open where the kernel is not its own
    return book.cells[1:]


# In the kernel, before each notebook. Whenever names are reset, garbage is collected, among all that is not frozen.
WITHOUT_NAMES = """
import gc
gc.freeze()
%reset -f
"""

# In the kernel, once: what shared_fixtures.py does in the process of the tests.
AS_IN_TESTS = """
from tests.other_processes import with_one_thread, without_waiting_and_pictures
with_one_thread()
without_waiting_and_pictures()
"""

# In the kernel, of its audits: without the measures that take longest, and pictures that nobody looks at.
QUICKLY = """
from dtfl_private.attacking import runner
from dtfl_private.auditing import audit_plan, measuring, written_audit
from dtfl_private.report.html import page
for module in (audit_plan, measuring):
    module.MEASURES = {name: module.MEASURES[name] for name in ("distance-correlation", "effective-rank")}
runner.save_pictures = lambda *_: []
written_audit.audit_pictures = lambda _: {}
for picture in ("by_tier_picture", "accuracy_leakage_picture"):
    setattr(page, picture, lambda *_, **__: b"<svg/>")
"""


def shown(cells):
    """Return what the cells show: their texts, and their HTML."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    texts = [output["text"] for output in outputs if output.output_type == "stream"]
    data = [output["data"] for output in outputs if "data" in output]
    return "".join([*texts, *(one.get("text/plain", "") for one in data)]), "".join(
        one.get("text/html", "") for one in data
    )


def read(name):
    return nbformat.read(ROOT / "examples" / "notebooks" / f"{name}.ipynb", as_version=4)


def test_there_are_three_and_each_is_kept_without_what_it_printed():
    assert [path.stem for path in NOTEBOOKS] == ["first_run", "own_data_and_network", "read_an_audit"]
    for path in NOTEBOOKS:
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_a_first_run(kernel):
    text, html = shown(run(kernel, *read("first_run").cells))
    for part in ("Costs of resnet-8, 1x8x8 inputs", "all in tier 1: ", "3 of 3 rounds", "sent in clear", 'max="3"'):
        assert part in html
    assert "'rounds.jsonl'" in text
    assert "simulated seconds are over" in text


def test_own_data_and_network(kernel):
    text, html = shown(run(kernel, *read("own_data_and_network").cells))
    assert "no test images were given: 60 of 300 images" in text
    assert "do not normalise them" in text
    assert "optimization, tier 1" in text
    for part in (
        "Costs of Sequential, 1x8x8 inputs",
        "object:ImageDataset",
        "<b>Attacks</b>",
        '<td style="text-align:left">psnr',
    ):
        assert part in html


def test_read_an_audit(kernel):
    text, html = shown(run(kernel, nbformat.v4.new_code_cell(QUICKLY), *read("read_an_audit").cells))
    assert "This audit is invalid" not in html + text
    assert html.count("<b>Audit of ") == 2
    assert "none            tier 1: SSIM 0." in text
    assert "gaussian-noise  tier 1: SSIM " in text
    assert "regret" in html


def test_a_notebook_that_fails_is_noticed(kernel):
    with pytest.raises(CellExecutionError, match="name 'missing' is not defined"):
        run(kernel, nbformat.v4.new_code_cell("missing"))
