"""Refuse a site whose pages would load anything from another host: they can be read offline."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "manifest"}


def on_post_build(*, config: MkDocsConfig) -> None:
    """Raise `PluginError` naming each page and address that a browser would load from elsewhere."""
    site = Path(config.site_dir)
    foreign = [
        f"{page.relative_to(site)} loads {address}"
        for page in sorted(site.rglob("*.html"))
        for address in foreign_loads(page.read_text("utf-8"))
    ]
    if foreign:
        raise PluginError("pages load from other hosts: " + "; ".join(foreign))


def foreign_loads(html: str) -> list[str]:
    """Return the addresses on other hosts that a browser loads to show this page; links to click do not count."""
    loads = _Loads()
    loads.feed(html)
    return [address for address in loads.addresses if address.startswith(("http:", "https:", "//"))]


class _Loads(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address that an element loads, if it loads one."""
        self.addresses += _loaded_by(tag, {name: value or "" for name, value in attrs})


def _loaded_by(tag: str, attributes: dict[str, str]) -> Iterator[str]:
    """Yield the addresses that an element loads."""
    if tag in LOADING and LOADING[tag] in attributes:
        yield attributes[LOADING[tag]]
    if tag == "link" and FETCHED_LINKS & set(attributes.get("rel", "").split()):
        yield attributes.get("href", "")
