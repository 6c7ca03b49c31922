import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.input_shape import LARGEST_INPUT, parse_shape


@pytest.mark.parametrize(("text", "shape"), [("3x32x32", (3, 32, 32)), ("1X8x9", (1, 8, 9)), ("512", (512,))])
def test_a_shape_is_an_image_or_a_number_of_tokens(text, shape):
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["", "3x32", "3x0x3", "-3x3x3", "3x3x3x3", "axbxc", "3x3x", "٣"])
def test_any_other_text_is_refused_in_one_line(text):
    with pytest.raises(InputError, match="is not CHANNELSxHEIGHTxWIDTH, as in 3x32x32, nor a number of tokens"):
        parse_shape(text)


def test_what_no_machine_holds_is_refused():
    assert parse_shape(str(LARGEST_INPUT)) == (LARGEST_INPUT,)
    with pytest.raises(InputError, match="has more than 16,777,216 values"):
        parse_shape(f"2x{LARGEST_INPUT // 2}x2")
