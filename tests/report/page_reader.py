"""What a browser without a network sees in a page, and what is wrong with its markup."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"br", "col", "hr", "link", "meta"}
_FETCHING = {"src", "srcset", "poster", "data", "action", "background", "xlink:href"}


class PageReader(HTMLParser):
    """Reads a page once; `faults` says what a strict reader would complain of."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.classes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self._targets: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"never closed: {tag}" for tag in self._open]
        self.faults += [f"id twice: {name}" for name in self.ids if self.ids.count(name) > 1]
        self.faults += [f"no such id: {name}" for name in self._targets if name not in self.ids]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _VOID:
            self._open.append(tag)
        for name, value in attrs:
            self._look_at(tag, name, value or "")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"closed out of turn: {tag} at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def _look_at(self, tag: str, name: str, value: str) -> None:
        if name.startswith("on") or name in _FETCHING:
            self.faults.append(f"{tag} has {name}")
        if name == "href" and not value.startswith(("#", "data:,")):
            self.faults.append(f"{tag} leads to {value}")
        if name == "href" and value.startswith("#"):
            self._targets.append(value[1:])
        if name == "aria-labelledby":
            self._targets.append(value)
        if name == "id":
            self.ids.append(value)
        if name == "class":
            self.classes.update(value.split())
