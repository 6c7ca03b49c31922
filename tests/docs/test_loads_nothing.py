"""A site that loads something from another host is refused."""

from types import SimpleNamespace

import pytest
from mkdocs.exceptions import PluginError

from docs.hooks.loads_nothing import foreign_loads, on_post_build


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<link href="https://fonts.example" rel="preconnect" crossorigin>',
        '<p><img alt="" src="http://pictures.example/x.svg"/></p>',
    ],
)
def test_what_a_page_would_load_from_another_host_is_found(html):
    assert len(foreign_loads(html)) == 1


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://arxiv.org/abs/2312.05642">paper</a>',
        '<link rel="canonical" href="https://docs.example/">',
        '<img src="../figures/x.svg"><script src="assets/x.js"></script><script>"https://in.text"</script>',
    ],
)
def test_links_to_click_and_own_files_are_let_pass(html):
    assert foreign_loads(html) == []


def test_the_error_names_page_and_address(tmp_path):
    (tmp_path / "page.html").write_text('<img src="https://elsewhere.example/x.png">')
    with pytest.raises(PluginError, match=r"page\.html loads https://elsewhere\.example/x\.png"):
        on_post_build(config=SimpleNamespace(site_dir=str(tmp_path)))
