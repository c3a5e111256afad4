"""Links of a site of HTML files: each to a page, file or anchor that is there, and nothing loaded from elsewhere."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("video", "src"), ("iframe", "src")}
NOT_LOADED = {"canonical", "next", "prev", "index", "search", "author"}  # kinds of <link> that only say something


class _Page(HTMLParser):
    """The anchors of a page, and (link, whether a browser loads it by itself) of all that it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        loads = not set((found.get("rel") or "").split()) & NOT_LOADED
        self.links += [
            (found[name], (tag, name) in LOADED and loads) for name in ("href", "src") if found.get(name) is not None
        ]


def check_site(site: Path) -> tuple[list[str], list[str]]:
    """What is wrong with the links of the pages below `site`, one sentence each; and the addresses outside of it."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    pages = {path: page for path, page in pages.items() if "_static" not in path.parts}  # templates of the theme
    problems: list[str] = []
    outside: set[str] = set()
    for path, page in pages.items():
        name = path.relative_to(site)
        for link, loaded in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("data", "javascript"):
                continue
            if parts.scheme or parts.netloc:
                outside.add(link)
                if loaded:
                    problems.append(f"{name} loads {link} from a network")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                problems.append(f"{name} links to {link}, and there is no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                problems.append(f"{name} links to {link}, and there is no such place in it")
    return sorted(set(problems)), sorted(outside)
