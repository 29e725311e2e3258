"""Markdown for Airflow's page that shows anybody's words and does nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Longer texts are cut: twenty of them have to fit on a page.
MAX_TEXT_CHARACTERS = 240

#: What would end a code span or a cell of a table, or change the direction of what follows it.
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_UNQUOTABLE = str.maketrans("`|", "'¦", _DIRECTIONS)


def quoted(text: str) -> str:
    """Return any text as Markdown that shows it and does nothing else.

    In a code span there are no links, no pictures and no HTML, and addresses stay plain text. Backslashes would not do:
    Airflow's page makes links of bare addresses after it has taken the backslashes away.
    """
    line = " ".join(text.translate(_UNQUOTABLE).split())
    if len(line) > MAX_TEXT_CHARACTERS:
        line = f"{line[: MAX_TEXT_CHARACTERS - 2]} …"
    return f"`{line}`" if line else "(empty)"


def table(heads: Sequence[str], rows: Iterable[Iterable[str]], *, align: str = "---:") -> str:
    """Return a Markdown table.

    :param align: of all columns but the first: figures to the right, or ``---`` for words.
    """
    lines = [heads, ["---", *[align] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
