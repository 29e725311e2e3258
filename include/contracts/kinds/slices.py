"""Slices of the evaluation rows: a model's YAML says by a rule which rows belong to each, see docs/slices.md."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from include.contracts.section import Section

_CODES = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv "
    "fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky la "
    "lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se "
    "si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu zxx"
)
#: What the detector of the evaluation tells apart, as ISO 639 has them; `zxx` is no language: numbers, addresses.
LANGUAGES = frozenset(_CODES.split())

#: A rule counts by one of these.
RULES = ("words", "characters", "language", "column", "keywords")


def _one_line(name: str) -> str:
    if name != name.strip() or not name.isprintable():
        raise ValueError("a name is one line without white space at its ends")
    return name


def _language(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError("no language that can be told; name it as ISO 639 does, such as de; docs/slices.md has all")
    return code


def _keyword(text: str) -> str:
    if not text.strip():
        raise ValueError("a keyword needs a letter, a digit or a sign")
    return folded(text)


def folded(text: str) -> str:
    """Return a text as keywords are compared: without upper case, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Bounds(Section):
    """How long a text is, both bounds included."""

    at_least: Annotated[int, Field(ge=0)] | None = Field(None, description="So many or more; none: any.")
    at_most: Annotated[int, Field(ge=0)] | None = Field(None, description="So many or fewer; none: any.")

    @model_validator(mode="after")
    def _bound_something(self) -> Bounds:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is above at_most: no text is both")
        return self

    def __str__(self) -> str:
        """Return them in words."""
        if self.at_least is None:
            return f"at most {self.at_most:,}"
        return f"at least {self.at_least:,}" if self.at_most is None else f"{self.at_least:,} to {self.at_most:,}"


class SliceRule(Section):
    """One slice: its name, and what its rows have in common. Just one of the rules is given."""

    name: Annotated[str, AfterValidator(_one_line), Field(min_length=1, max_length=60)] = Field(
        description="What reports, cards and `gate` call it."
    )
    words: Bounds | None = Field(None, description="Texts of so many words.")
    characters: Bounds | None = Field(None, description="Texts of so many characters, spaces included.")
    language: Annotated[str, AfterValidator(_language)] | None = Field(
        None, description="Texts in a language, by its ISO 639 code, such as `de`."
    )
    column: str | int | None = Field(
        None, description="Rows with a value in another column of the data; a number in files without a header."
    )
    equals: str | list[str] | None = Field(None, description="With `column`: the value, or several.")
    keywords: Annotated[list[Annotated[str, AfterValidator(_keyword)]], Field(min_length=1)] | None = Field(
        None, description="Texts that hold one of these words or phrases; upper and lower case are the same."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> SliceRule:
        given = [rule for rule in RULES if getattr(self, rule) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(RULES)}; a row of several rules is a row of several slices")
        if (self.column is None) != (not self.equals):
            raise ValueError("column, equals: give both, or neither")
        return self

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the column that count."""
        return (self.equals,) if isinstance(self.equals, str) else tuple(self.equals or ())

    def __str__(self) -> str:
        """Return the rule in words."""
        if self.words or self.characters:
            return f"{self.words} words" if self.words else f"{self.characters} characters"
        if self.language:
            return f"language {self.language}"
        if self.column is not None:
            return f"column {self.column}: {', '.join(self.values)}"
        return f"keywords: {', '.join(self.keywords or ())}"


def _names_differ(rules: list[SliceRule]) -> list[SliceRule]:
    if len({rule.name for rule in rules}) != len(rules):
        raise ValueError("two slices have the same name")
    return rules


def columns_of(rules: Iterable[SliceRule]) -> list[str | int]:
    """Return the columns of the data that slices go by, each once."""
    return list({str(rule.column): rule.column for rule in rules if rule.column is not None}.values())


#: So many can be named: each costs an interval in every release.
Slices = Annotated[list[SliceRule], Field(max_length=50), AfterValidator(_names_differ)]
