"""Image files of every kind that a user may have, good and bad; each bad one is refused by name."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtfl_private.data.files import pixels
from dtfl_private.data.files.pixels import PixelFormat, count_transparent, decode, decode_all, require_bounded
from dtfl_private.errors import InputError

AS_IS = PixelFormat(size=None, grey=False)
GREY = PixelFormat(size=None, grey=True)
COLOUR = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **settings: object) -> Path:
    image.save(path, **settings)
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    """Write a PNG file by hand, as Pillow cannot write 16-bit colours."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refusal(path: Path, target: PixelFormat = AS_IS) -> str:
    with pytest.raises(InputError) as error:
        decode_all([path], target)
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert "BytesIO" not in text
    return text.removeprefix(f"{path} ")


def test_a_colour_png_is_its_pixels_channels_first(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(COLOUR))
    image = decode(path, AS_IS)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, COLOUR.transpose(2, 0, 1))


def test_a_jpeg_is_what_pillow_decodes(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(COLOUR))
    np.testing.assert_array_equal(decode(path, AS_IS), np.asarray(Image.open(path)).transpose(2, 0, 1))


def test_the_content_tells_the_kind_of_file_not_its_name(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(COLOUR), format="PNG")
    np.testing.assert_array_equal(decode(path, AS_IS), COLOUR.transpose(2, 0, 1))


def test_grey_is_the_weighted_mean_of_the_colours(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(COLOUR))
    expected = COLOUR.astype(float) @ [0.299, 0.587, 0.114]
    image = decode(path, GREY)
    assert image.shape == (1, 6, 9)
    assert np.abs(image[0] - expected).max() <= 1


def test_a_grey_image_in_colour_has_three_equal_channels(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(COLOUR[..., 0]))
    np.testing.assert_array_equal(decode(path, AS_IS), np.stack([COLOUR[..., 0]] * 3))
    np.testing.assert_array_equal(decode(path, GREY), COLOUR[np.newaxis, ..., 0])


def test_black_and_white_and_palette_images_are_expanded(tmp_path):
    dark = COLOUR[..., 0] < 128
    path = save(tmp_path / "a.png", Image.fromarray(~dark))
    np.testing.assert_array_equal(decode(path, GREY)[0], np.where(dark, 0, 255))
    coarse = Image.fromarray(COLOUR & 0xC0)
    path = save(tmp_path / "b.png", coarse.quantize(64))
    np.testing.assert_array_equal(
        decode(path, AS_IS), np.asarray(coarse.quantize(64).convert("RGB")).transpose(2, 0, 1)
    )


def test_images_are_resized_to_a_square(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(np.full((6, 9, 3), 77, np.uint8)))
    image = decode(path, PixelFormat(size=4, grey=False))
    np.testing.assert_array_equal(image, np.full((3, 4, 4), 77))


def test_resizing_averages_and_does_not_skip_pixels(tmp_path):
    # Columns of 0 and 255 in turn: whoever only takes every fourth pixel returns pure black or pure white.
    path = save(tmp_path / "a.png", Image.fromarray(np.tile(np.array([0, 255], np.uint8), (32, 16))))
    image = decode(path, PixelFormat(size=8, grey=True))
    assert np.abs(image.astype(int) - 127.5).max() < 20


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_transparency_is_dropped(tmp_path, mode):
    plain = Image.fromarray(COLOUR).convert("RGB" if mode == "RGBA" else "L")
    path = save(tmp_path / "a.png", plain.convert(mode))
    np.testing.assert_array_equal(decode(path, AS_IS), np.asarray(plain.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_visible_transparency_is_refused(tmp_path, mode):
    see_through = Image.fromarray(np.dstack([COLOUR, COLOUR[..., :1]])).convert(mode if mode != "P" else "RGBA")
    image = see_through.quantize(16) if mode == "P" else see_through
    path = save(tmp_path / "a.png", image)
    assert refusal(path).startswith("has transparent pixels: ")


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_refused_for_every_kind_of_png(tmp_path, colour, channels):
    rows = (b"\0" + bytes(3 * channels * 2)) * 2
    (tmp_path / "a.png").write_bytes(png(3, 2, depth=16, colour=colour, rows=rows))
    assert refusal(tmp_path / "a.png").startswith("has 16 bits per channel, expected 8: ")


def test_a_png_by_hand_of_8_bits_is_read(tmp_path):
    # The positive control of the previous test.
    (tmp_path / "a.png").write_bytes(png(3, 2, depth=8, colour=2, rows=(b"\0" + bytes(9)) * 2))
    np.testing.assert_array_equal(decode(tmp_path / "a.png", AS_IS), np.zeros((3, 2, 3)))


def test_cmyk_is_refused(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(COLOUR).convert("CMYK"))
    assert refusal(path) == "is a CMYK image, expected grey or RGB: convert it"


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_refused_even_under_a_png_name(tmp_path, kind):
    path = save(tmp_path / "a.png", Image.fromarray(COLOUR), format=kind)
    assert refusal(path).startswith("cannot be read as a PNG or JPEG image (cannot identify image file")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.97])
def test_a_truncated_file_is_refused(tmp_path, kind, share):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, format=kind)
    data = file.getvalue()
    (tmp_path / "a.png").write_bytes(data[: int(share * len(data))])
    assert refusal(tmp_path / "a.png").startswith("cannot be read as a PNG or JPEG image (")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_flipped_bits_give_an_image_or_a_refusal_and_nothing_else(tmp_path, kind):
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, format=kind)
    rng, refused = np.random.default_rng(2), 0
    for _ in range(400):
        data = bytearray(file.getvalue())
        for place in rng.integers(0, len(data), 3):
            data[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "a.png").write_bytes(data)
        try:
            decode_all([tmp_path / "a.png"], AS_IS)
        except InputError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (9_000, 9_000), (2**31 - 1, 2**31 - 1), (2**27, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, width, height):
    (tmp_path / "a.png").write_bytes(png(width, height, depth=8, colour=2, rows=b"\0"))
    text = refusal(tmp_path / "a.png")
    assert "pixels" in text


def test_a_huge_file_is_not_read_to_its_end(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", Image.fromarray(COLOUR))
    monkeypatch.setattr(pixels, "MAX_FILE_BYTES", 2**20)
    with path.open("ab") as file:
        file.truncate(2**20 + 1)
    assert refusal(path) == "cannot be read as a PNG or JPEG image (larger than 1 MiB): replace or remove it"


def test_files_that_cannot_be_opened_are_named(tmp_path, monkeypatch):
    assert "No such file" in refusal(tmp_path / "none.png")
    assert "Is a directory" in refusal(tmp_path)

    def forbidden(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    save(tmp_path / "a.png", Image.fromarray(COLOUR))
    monkeypatch.setattr(os, "open", forbidden)  # the tests may run as root, whom no permission stops
    assert "Permission denied" in refusal(tmp_path / "a.png")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert refusal(tmp_path / "a.png").startswith("cannot be read as a PNG or JPEG image (not a regular file")


def test_all_images_are_stacked_in_order(tmp_path):
    files = [save(tmp_path / f"{shade}.png", Image.new("RGB", (3, 2), (shade, 0, 0))) for shade in (5, 3, 9)]
    images, _ = decode_all(files, AS_IS)
    assert images.shape == (3, 3, 2, 3)
    assert images[:, 0, 0, 0].tolist() == [5, 3, 9]


def test_the_first_image_of_another_size_is_named_with_both_sizes(tmp_path):
    files = [save(tmp_path / f"{width}.png", Image.new("L", (width, 4))) for width in (4, 5, 6)]
    with pytest.raises(InputError) as error:
        decode_all(files, GREY)
    assert str(error.value).startswith(f"{files[1]} is 5x4 pixels, the images before it 4x4: ")
    assert "size=PIXELS" in str(error.value)
    assert decode_all(files, PixelFormat(size=4, grey=True))[0].shape == (3, 1, 4, 4)


def test_a_shape_may_be_prescribed(tmp_path):
    path = save(tmp_path / "a.png", Image.new("L", (4, 4)))
    assert decode_all([path], GREY, (1, 4, 4))[0].shape == (1, 1, 4, 4)
    with pytest.raises(InputError, match="is 4x4 pixels, the images before it 5x5"):
        decode_all([path], GREY, (1, 5, 5))


def test_transparent_pixels_become_white_on_request_and_are_counted(tmp_path):
    colours = [(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 102)]
    files = [save(tmp_path / f"{alpha}.png", Image.new("RGBA", (2, 2), (*rgb, alpha))) for *rgb, alpha in colours]
    images, transparent = decode_all(files, PixelFormat(size=None, grey=False, background="white"))
    assert images[:, :, 0, 0].tolist() == [[200, 0, 0], [255, 255, 255], [233, 153, 153]]
    assert transparent == 2
    assert count_transparent([*files, tmp_path / "none.png"], AS_IS) == 2
    grey, _ = decode_all(files, PixelFormat(size=None, grey=True, background="white"))
    assert grey[1, 0, 0, 0] == 255


def test_the_bound_on_a_set_is_read_from_one_header(tmp_path):
    # 8192x8192 pixels, of which the file holds none.
    path = tmp_path / "a.png"
    path.write_bytes(png(8192, 8192, depth=8, colour=2, rows=b"\0"))
    with pytest.raises(InputError, match=r"^40 images of 8192x8192 pixels take 7\.5 GiB decoded, more than 4 GiB: "):
        require_bounded([path] * 40, AS_IS)
    require_bounded([path] * 21, AS_IS)
    require_bounded([path] * 40, GREY)
    require_bounded([path] * 10_000, PixelFormat(size=224, grey=False))
