"""How things look: inert text, short ids, sizes, times, tables. Pure but for the tables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

# C0 without tab and newline, DEL, C1, what reorders text (bidirectional controls), lone surrogates: with these, the
# output of an agent could repaint the terminal, type into it, or show a command other than the one that ran.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

# Eight hexadecimal digits tell 65,000 sessions apart with a chance of a clash of one in two; a clash is no harm:
# `shorten` goes on until the ids differ, and an ambiguous one is an error that lists the candidates.
SHORT_ID = 8

_BETWEEN = 2  # cells between two columns
_LEAST_WIDTH = 8  # of a column of free text on a narrow terminal: less says nothing

STATUS_STYLES = {
    **dict.fromkeys(("applied", "completed"), "green"),
    **dict.fromkeys(("requested", "pending", "running"), "cyan"),
    **dict.fromkeys(("rejected", "blocked"), "yellow"),
    **dict.fromkeys(("unknown", "reverted", "cancelled"), "dim"),
    "failed": "red",
}


def plain(text: str) -> str:
    """`text` with everything that a terminal would obey made visible (`\\x1b`), and nothing else changed."""
    return _ACTIVE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def one_line(text: str | None, limit: int = 200) -> str:
    """`text` on one line, inert, cut at `limit` characters: for a cell of a table."""
    line = plain(text or "").replace("\n", " ⏎ ").replace("\t", " ").strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shorten(ids: Iterable[str]) -> dict[str, str]:
    """For each id its shortest prefix that no other of them has, at least SHORT_ID long."""
    ordered = sorted(set(ids))
    short = {}
    for place, one in enumerate(ordered):
        neighbours = ordered[max(place - 1, 0) : place] + ordered[place + 1 : place + 2]
        same = max((len(os.path.commonprefix((one, other))) for other in neighbours), default=0)
        short[one] = plain(one[: max(SHORT_ID, same + 1)])
    return short


def days(moments: Iterable[str | None]) -> int:
    """How many days of the user's own time zone these times are of. Of one day alone, the date need not be repeated."""
    return len({clock(moment)[:10] for moment in moments if moment})


def clock(moment: str | None, *, date: bool = True) -> str:
    """An ISO 8601 time in the user's own time zone, to the second."""
    if not moment:
        return ""
    try:
        local = datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return plain(moment)
    return local.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")


def brief(moment: str | None) -> str:
    """An ISO 8601 time for a narrow column: today's to the second, this year's to the minute, older ones to the day."""
    whole, now = clock(moment), datetime.now()
    if whole[:10] == f"{now:%Y-%m-%d}":
        return whole[11:]
    return whole[5:16] if whole[:4] == f"{now:%Y}" else whole[:10]


def size(count: int) -> str:
    """Bytes for people: "812 B", "4.2 kB", "1.3 GB"."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def amount(count: int | None) -> str:
    """A count of tokens for people: "950", "12.4k", "3.1M"; nothing where the wire did not say."""
    if count is None:
        return ""
    if count < 10_000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"


def money(dollars: float | None) -> str:
    """Dollars for people: "$12.30", "$0.0042"; nothing where the cost is not known."""
    if dollars is None:
        return ""
    if 0 < dollars < 0.00005:
        return "<$0.0001"
    return f"${dollars:,.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"


def relative(path: str | None, workdir: str | None) -> str:
    """A path as seen from the working folder of its session, where it lies below it."""
    if path and workdir and path.startswith(workdir.rstrip("/") + "/"):
        return path[len(workdir.rstrip("/")) + 1 :]
    return path or ""


def tail(path: str) -> str:
    """The end of a path, which tells folders apart: "…/claude/work"."""
    parts = path.rstrip("/").split("/")
    return "…/" + "/".join(parts[-2:]) if len(parts) > 4 else path


def changed_lines(diff: str | None) -> str:
    """ "+3 -1" of a unified diff."""
    if not diff:
        return ""
    lines = [line for line in diff.split("\n") if line[:3] not in ("+++", "---")]
    return f"+{sum(line[:1] == '+' for line in lines)} -{sum(line[:1] == '-' for line in lines)}"


def print_table(out: Console, heads: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """A table on a terminal; tab-separated lines under one line of heads when piped.

    A head that ends in # is of numbers. One that ends in ~ is of free text: such columns share the width that the
    others, which stay whole, leave of the terminal, and are cut with an ellipsis.
    """
    names = [head.rstrip("#~") for head in heads]
    if not out.is_terminal:
        for row in (names, *rows):
            out.file.write("\t".join(str(cell) for cell in row) + "\n")  # rich would turn tabs into spaces
        return
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    wanted = [max(cell_len(name), *(row[place].cell_len for row in cells)) for place, name in enumerate(names)]
    free = [place for place, head in enumerate(heads) if head.endswith("~")]
    widths = _share(wanted, free, out.width - _BETWEEN * (len(heads) - 1))
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for head, name, width in zip(heads, names, widths, strict=True):
        justify: JustifyMethod = "right" if head.endswith("#") else "left"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        table.add_row(*row)
    out.print(table)


def _share(wanted: list[int], free: list[int], width: int) -> list[int]:
    """The width of each column: what it wants, but the `free` ones no more than an equal share of what is left. What
    one of them does not need, the wider ones get."""
    widths, left = list(wanted), width - sum(wanted[place] for place in range(len(wanted)) if place not in free)
    for count, place in enumerate(sorted(free, key=lambda place: wanted[place])):
        widths[place] = min(wanted[place], max(left // (len(free) - count), _LEAST_WIDTH))
        left -= widths[place]
    return widths


def paint_diff(diff: str) -> Text:
    """A unified diff, inert, in the usual colours."""
    text = Text()
    for line in diff.splitlines(keepends=True):
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        text.append(plain(line), style="bold" if line.startswith(("+++ ", "--- ", "diff ")) else style)
    return text
