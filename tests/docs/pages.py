"""The documents as the tests read them: pages, their code blocks, inline code, headings and links."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`([^`]+)`")
_LINK: Final = re.compile(r"\]\(([^()\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_NOT_IN_ANCHOR: Final = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced code block, its indentation taken off."""

    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One document."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path within the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, *languages: str) -> list[Block]:
        """Return the code blocks of these languages, of all without any."""
        found = [
            Block(language=one["language"], text=_without_indent(one["text"])) for one in _FENCE.finditer(self.text)
        ]
        return [block for block in found if not languages or block.language in languages]

    def inline_code(self) -> list[str]:
        """Return what stands between backticks, on one line each."""
        return [" ".join(code.split()) for code in _INLINE.findall(self.prose)]

    def links(self) -> list[str]:
        """Return the targets of links."""
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """Return the anchors of headings, as GitHub makes them."""
        return {_NOT_IN_ANCHOR.sub("", text.lower()).replace(" ", "-") for text in _HEADING.findall(self.prose)}

    def section(self, heading: str) -> str:
        """Return the text under a heading, up to the next one of any level."""
        _, found, rest = self.text.partition(f"# {heading}\n")
        assert found, f"{self.name} has no heading {heading!r}"
        return re.split(r"^#{1,6} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def read_page(name: str) -> Page:
    """Return the document at a path within the repository."""
    path = ROOT / name
    return Page(path=path, text=path.read_text(encoding="utf-8"))


def all_pages() -> list[Page]:
    """Return README, changelog and everything in docs/."""
    names = [
        "README.md",
        "CHANGELOG.md",
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
    ]
    return [read_page(name) for name in sorted(names)]


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of the Markdown tables in a text, without their headers."""
    rows: list[list[str]] = []
    in_body = False
    for line in map(str.strip, text.splitlines()):
        if not line.startswith("|"):
            in_body = False
        elif in_body:
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif not line.strip("|-: "):
            in_body = True
    return rows


def _without_indent(text: str) -> str:
    lines = text.splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "".join(f"{line[margin:]}\n" for line in lines)
