"""For tests of pages: HTML as a parser sees it."""

from __future__ import annotations

from html.parser import HTMLParser


class Tags(HTMLParser):
    """Tags seen, and those still open; closing another than the last opened is an error."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("meta", "html"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "html":
            assert self.open.pop() == tag
