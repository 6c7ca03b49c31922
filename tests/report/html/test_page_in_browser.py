"""The report in Debian's Chromium: it opens without a complaint, and nothing sticks out of a phone's screen."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from audit_samples import clients, examples, full, invalid, picture

from dtfl_private.report.html.page import audit_page

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, as Debian's package installs it"),
    pytest.mark.usefixtures("pictures_drawn_once"),
]

PHONE, DESKTOP = 360, 1280

# Frames have the widths that windows have on screens; what lies in a region scrolls there and not with the page.
HARNESS = """<!DOCTYPE html><meta charset="utf-8"><title>harness</title>
<script>
function measured(frame) {
  const page = frame.contentDocument, width = page.documentElement.clientWidth;
  const out = [...page.body.querySelectorAll("*:not(.region *, .skip)")].filter(
    (one) => one.getBoundingClientRect().right > width + 1).map((one) => one.tagName + "." + one.className);
  const images = [...page.images].filter((one) => !one.complete || !one.naturalWidth).length;
  const nowhere = [...page.querySelectorAll("nav a")].filter(
    (one) => !page.getElementById(one.hash.slice(1))).length;
  const lefts = (one) => new Set([...one.querySelectorAll("dd")].map((dd) => dd.getBoundingClientRect().left));
  const astray = [...page.querySelectorAll(".pairs div")].filter((one) => lefts(one).size > 1).length;
  return {frame: frame.name, width, astray, scrolls: page.documentElement.scrollWidth, out, images, nowhere,
    columns: getComputedStyle(page.querySelector(".page")).display, title: page.title};
}
addEventListener("load", () => {
  document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(measured));
});
</script>
<body>FRAMES</body>"""
FRAME = '<iframe name="{name}" src="{name}.html" style="width:{width}px;height:800px;border:0"></iframe>'

LONG = "runs/" + "a-very-long-name-without-any-space_" * 4


def opened(folder, *arguments):
    """Return what Chromium printed, and what it logged."""
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--v=0"]
    quiet = [
        "--enable-logging=stderr",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    ]
    command = [CHROMIUM, *options, *quiet, f"--user-data-dir={folder / 'profile'}", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, log = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, log
    return output, log


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    """What frames of each page and width measured, and what the browser's console said."""
    folder = tmp_path_factory.mktemp("browser")
    galleries = {"tier-1-hybrid.png": picture()}
    shown, pictures = examples(1, 4, label="a_class_with_a_name_of_sixty_characters_and_without_any_space_x")
    twice = [{"what": "lira", "why": why} for why in ("it needs shadow runs", "nobody asked for it")]
    about = {"title": LONG[:120], "organisation": LONG[:80]}
    pages = {
        "full": audit_page(full(run=LONG, examples=shown, about=about, not_tested=twice), galleries, pictures),
        "invalid": audit_page(invalid(), {}, {}),
        "crowd": audit_page(full(clients=clients(150)), {}, {}),
    }
    frames = []
    for name, text in pages.items():
        for width in (PHONE, DESKTOP):
            (folder / f"{name}-{width}.html").write_text(text, "utf-8")
            frames.append(FRAME.format(name=f"{name}-{width}", width=width))
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("FRAMES", "".join(frames)), "utf-8")
    dom, log = opened(folder, "--window-size=1400,900", "--dump-dom", harness.as_uri())
    found = re.search(r"<body>(\[.*\])</body>", dom, re.DOTALL)
    assert found, dom[-2000:] + log
    return json.loads(found[1]), [line for line in log.splitlines() if "CONSOLE" in line]


def test_the_console_stays_silent(looked_at):
    _, console = looked_at
    assert console == []


def test_no_page_is_wider_than_its_window(looked_at):
    found, _ = looked_at
    assert [one["width"] for one in found] == [PHONE, DESKTOP] * 3
    for one in found:
        assert one["scrolls"] <= one["width"], one
        assert one["out"] == [], one


def test_several_reasons_for_one_thing_stand_below_each_other(looked_at):
    found, _ = looked_at
    assert [one["astray"] for one in found] == [0] * 6


def test_all_pictures_are_shown_and_all_links_lead_somewhere(looked_at):
    found, _ = looked_at
    assert [one["images"] + one["nowhere"] for one in found] == [0] * 6
    assert "Privacy audit: runs/" in found[0]["title"]


def test_contents_stand_left_of_the_text_on_a_desk_and_above_it_on_a_phone(looked_at):
    found, _ = looked_at
    assert [one["columns"] for one in found] == ["block", "grid"] * 3


def test_a_complaint_in_the_console_would_be_seen(tmp_path):
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    (tmp_path / "page.html").write_text(f'{policy}<img src="data:image/png;base64,AAAA">', "utf-8")
    _, log = opened(tmp_path, "--dump-dom", (tmp_path / "page.html").as_uri())
    assert "CONSOLE" in log
