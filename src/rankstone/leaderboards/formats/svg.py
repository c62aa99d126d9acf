"""Pages as SVG: the plot of a page with only one plot, else the terminal output.

The SVG is self-contained: it refers to no external font or file.
"""

from __future__ import annotations

import io

from rich.terminal_theme import TerminalTheme
from rich.text import Text

from rankstone.leaderboards.document import Page, Picture, neutral
from rankstone.leaderboards.formats.terminal import SafeConsole
from rankstone.leaderboards.formats.terminal import drawn as in_terminal

WIDTH = 116
_THEME = TerminalTheme(
    (16, 20, 27),
    (214, 220, 228),
    [(72, 79, 88), (255, 123, 114), (108, 211, 132), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (126, 231, 150), (227, 179, 65),
     (165, 214, 255), (226, 197, 255), (179, 240, 255), (255, 255, 255)],
)  # fmt: skip


def draw(page: Page, *, width: int = WIDTH) -> str:
    match page.blocks:
        case (Picture(_, drawn),):
            return drawn.strip() + "\n"
    console = SafeConsole(file=io.StringIO(), width=width, record=True, legacy_windows=False)
    console.print(in_terminal(page, width), Text())
    return console.export_svg(
        title=neutral(page.title) or "rankstone",
        theme=_THEME,
        code_format=_SVG,
        unique_id="rankstone",
        font_aspect_ratio=0.602,
    )


_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold;
font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
