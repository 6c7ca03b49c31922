"""Whatever a data set of another party holds, a command answers in one line: no traceback."""

import gzip
import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from spoiling import bytes_of, examples, refused_or_done

from dtfl_private.data.files.cache import cached
from dtfl_private.data.files.idx import read_idx


def png(shade: int) -> bytes:
    path = Path("shade.png")
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    return path.read_bytes()


@given(data=st.data())
@examples(40)
def test_image(dtfl, tmp_path, count, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "tree" / name).mkdir(parents=True, exist_ok=True)
        for image in range(2):
            (tmp_path / "tree" / name / f"{image}.png").write_bytes(png(100 * number + image))
    (tmp_path / "tree" / "cat" / "0.png").write_bytes(data.draw(bytes_of(png(0))))
    image_folder = ("partition", "--dataset", "image-folder", "--data-dir", tmp_path / "tree", "--clients", 1)
    assert dtfl(*image_folder).status in (0, 2)
    count()


TABLE = b"lesion_id,image_id,dx\nL1,I1,nv\nL2,I2,mel\n"


@given(data=bytes_of(TABLE))
@examples(40)
def test_table_of_ham10000(dtfl, tmp_path, count, data):
    (tmp_path / "HAM10000_metadata.csv").write_bytes(data)
    assert dtfl("partition", "--dataset", "ham10000", "--data-dir", tmp_path).status == 2
    count()


@given(data=bytes_of(struct.pack(">4B3I", 0, 0, 8, 3, 2, 4, 4) + bytes(range(32))), packed=st.booleans())
@examples(60)
def test_idx_file(tmp_path, count, data, packed):
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    refused_or_done(lambda: read_idx(path, dimensions=3))
    count()


@given(data=st.data())
@examples(40)
def test_cache_of_images_is_made_anew(tmp_path, monkeypatch, count, data, patterns):
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    build = lambda: {"train": patterns.train_images}  # noqa: E731 - it is only handed on
    cached("entry", "stamp", build)
    path = data.draw(st.sampled_from(sorted((tmp_path / "cache").glob("entry.*"))))
    path.write_bytes(data.draw(bytes_of(path.read_bytes())))
    assert (cached("entry", "stamp", build)["train"] == patterns.train_images).all()
    count()
