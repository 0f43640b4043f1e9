"""The guide as a book: puts its pages where mdBook finds them, and checks what mdBook has made.

A page of docs/ may link to files outside, which a book cannot: those are gathered beside the pages.
"""

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

DOCS = Path("docs")
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s:]+)((?:#[^)\s]*)?)\)")


def place(path):
    """Where a file of the repository lies in the book."""
    return path.relative_to(DOCS) if path.is_relative_to(DOCS) else path


def resolve(page, link):
    return (page.parent / link).resolve().relative_to(Path.cwd())


def relative(target, start):
    steps = len(start.parts)
    return Path(*[".."] * steps, target) if steps else target


def gather(book):
    contents = DOCS / "SUMMARY.md"
    listed = {resolve(contents, link[2]) for link in LINK.finditer(contents.read_text())}
    pages = [contents]
    seen = set(pages)
    while pages:
        page = pages.pop()

        def follow(link):
            target = resolve(page, link[2])
            if not target.is_file():
                sys.exit(f"{page}: {link[2]} does not exist")
            if target not in listed and target.suffix == ".md":
                return link[1]  # a page for engineers, not in the book
            if target not in seen:
                seen.add(target)
                pages.append(target)
            return f"[{link[1]}]({relative(place(target), place(page).parent)}{link[3]})"

        copy = book / place(page)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix == ".md":
            copy.write_text(LINK.sub(follow, page.read_text()))
        else:
            shutil.copy(page, copy)


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name"):
                self.names.add(value)


def check(book):
    pages = {path.resolve(): Page(path) for path in book.rglob("*.html")}
    missing = []
    for path, page in pages.items():
        if path.name in ("404.html", "toc.html"):  # those have links from the root
            continue
        for link in map(urlsplit, page.links):
            if link.scheme or link.netloc:
                continue
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            if not target.exists() or (link.fragment and link.fragment not in pages[target].names):
                missing.append(f"{path.relative_to(book.resolve())}: {link.geturl()}")
    if missing:
        sys.exit("\n".join(["links that lead nowhere:", *missing]))
    print(f"{len(pages)} pages, every link leads somewhere")


{"gather": gather, "check": check}[sys.argv[1]](Path(sys.argv[2]))
