"""Finds personal data in texts: what has a form that can be checked. Names and addresses of people have none.

Counts rows by kind, puts a mask in the place of what was found, or refuses the rows, as the model's YAML says. What was
found is never printed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from include.contracts.data.personal_data import Kind, PersonalDataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NAMES: Mapping[Kind, str] = {
    "email": "e-mail addresses",
    "iban": "bank account numbers",
    "card": "payment card numbers",
    "phone": "phone numbers",
}
_ONE: Mapping[Kind, str] = {
    "email": "an e-mail address",
    "iban": "a bank account number",
    "card": "a payment card number",
    "phone": "a phone number",
}
REMEDY = "Take it out, or set data.personal_data.{0} in the model's YAML to mask, tell or ignore."

#: What a text must hold to be looked at; RE2's patterns, which take time that grows with the text alone.
_AT = "@"
_SEVEN_DIGITS = r"[0-9](?:[ ./()-]{0,2}[0-9]){6}"

_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}([^\W\d_]{2,24})(?![\w@-])")
#: Names of files such as icon@2x.png have the form of an address.
_NO_DOMAINS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js"})

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
#: Country and characters of an account number. Source: SWIFT, IBAN Registry (ISO 13616).
_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 "
    "EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 "
    "KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 "
    "PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 "
    "UA29 VA22 VG24 XK20 YE30"
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}

#: Looks ahead, so that what stands before a number does not hide it.
_CARD = re.compile(r"(?<![\w.,+-])(?=([2-6](?:[ -]?[0-9]){12,18})(?![0-9]))")
#: First digits (from, to) and numbers of digits of the networks. Source: ISO/IEC 7812 and the networks' own pages.
_CARD_NETWORKS = (
    ("4", "4", (13, 16, 19)),
    ("51", "55", (16,)),
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("300", "305", (14,)),
    ("36", "36", (14,)),
    ("38", "39", (14,)),
    ("3528", "3589", (16, 19)),
    ("6011", "6011", (16, 19)),
    ("62", "62", (16, 19)),
    ("644", "659", (16, 19)),
    ("50", "50", (16, 19)),
    ("56", "58", (16, 19)),
)

#: With a country's code, as E.164 has it: fifteen digits at most.
_INTERNATIONAL = r"(?<![\w+.,])(?<![0-9][ -])(?:\+|00)[1-9](?:[ ./-]?(?:\([0-9]{1,4}\)|[0-9])){6,13}(?![0-9])"
_NORTH_AMERICAN = (
    r"(?<![\w.+-])(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}(?![\w-])"
)
_PHONE = re.compile(f"{_INTERNATIONAL}|{_NORTH_AMERICAN}")


class Found(NamedTuple):
    """Something in a text, from one character up to another, which is not part of it."""

    kind: Kind
    begin: int
    end: int


def find(text: str, kinds: Iterable[Kind] = tuple(NAMES)) -> list[Found]:
    """Return the personal data in a text, in its order; nothing is found twice.

    :param kinds: what is looked for, in this order.
    """
    found: list[Found] = []
    for kind in kinds:
        for begin, end in _FINDERS[kind](text):
            if all(end <= other.begin or begin >= other.end for other in found):
                found.append(Found(kind, begin, end))
    return sorted(found, key=lambda each: each.begin)


def masked(text: str, found: list[Found]) -> str:
    """Return a text with the name of its kind in the place of each find.

    :param found: in the order of the text.
    """
    parts, position = [], 0
    for each in found:
        parts += [text[position : each.begin], f"[{each.kind}]"]
        position = each.end
    return "".join([*parts, text[position:]])


def _emails(text: str) -> Iterator[tuple[int, int]]:
    for match in _EMAIL.finditer(text):
        if match[1].lower() not in _NO_DOMAINS:
            yield match.span()


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2].upper())
        end = _end_of(text, match.start(), length) if length else None
        if end is not None and _has_iban_digits(text[match.start() : end]):
            yield match.start(), end


def _end_of(text: str, begin: int, length: int) -> int | None:
    """Return where so many letters and digits end that at most a space or a dash stands between; ``None``: nowhere."""
    position, left = begin, length
    while left:
        letter = text[position : position + 1]
        if letter.isascii() and letter.isalnum():
            left -= 1
        elif letter not in (" ", "-") or text[position + 1 : position + 2] in (" ", "-", ""):
            return None
        position += 1
    return None if text[position : position + 1].isalnum() else position


def _has_iban_digits(written: str) -> bool:
    """Tell whether its two check digits are right (ISO 7064, MOD 97-10)."""
    letters = re.sub(r"[ -]", "", written).upper()
    return int("".join(str(int(letter, 36)) for letter in letters[4:] + letters[:4])) % 97 == 1


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        places = [place for place in range(*match.span(1)) if text[place].isdigit()]
        digits = "".join(text[place] for place in places)
        for length in _card_lengths(digits):
            ends_there = length == len(digits) or (length < len(digits) and places[length] > places[length - 1] + 1)
            if ends_there and has_check_digit(digits[:length]):
                yield match.start(), places[length - 1] + 1
                break


def _card_lengths(digits: str) -> tuple[int, ...]:
    for first, last, lengths in _CARD_NETWORKS:
        if first <= digits[: len(first)] <= last:
            return tuple(reversed(lengths))
    return ()


def has_check_digit(digits: str) -> bool:
    """Tell whether the last digit is that of Luhn's formula (ISO/IEC 7812-1, annex B), and not all are the same."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0 and len(set(digits)) > 1


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in _PHONE.finditer(text):
        yield match.span()


_FINDERS: Mapping[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "phone": _phones,
}


class PersonalData:
    """Looks for personal data batch by batch, and counts the rows that hold some.

    :param settings: what becomes of each kind.
    """

    def __init__(self, settings: PersonalDataConfig) -> None:
        self._actions = dict(settings.actions())
        #: Split -> kind -> rows.
        self.rows: dict[str, Counter[Kind]] = {}

    def check(self, texts: pa.Array, split: str) -> tuple[pa.Array, dict[str, np.ndarray]]:
        """Return the texts, masked where the settings say so, and what is refused -> which rows, bool, shape (rows,).

        :param texts: cleaned, none is null.
        :param split: that they are for.
        """
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute

        counts = self.rows.setdefault(split, Counter())
        refused: dict[str, Any] = {}
        looked_at = self._looked_at(texts)
        changed: dict[int, str] = {}
        for row in looked_at:
            text = texts[row].as_py()
            found = find(text, self._actions)
            kinds = {each.kind for each in found}
            counts.update(kinds)
            for kind in kinds:
                if self._actions[kind] == "refuse":
                    refused.setdefault(refusal(kind), np.zeros(len(texts), dtype=bool))[row] = True
            if hidden := [each for each in found if self._actions[each.kind] == "mask"]:
                changed[row] = masked(text, hidden)
        if changed:
            is_changed = np.zeros(len(texts), dtype=bool)
            is_changed[list(changed)] = True
            texts = compute.replace_with_mask(texts, pa.array(is_changed), pa.array(changed.values(), pa.string()))
        return texts, refused

    def add(self, rows: Mapping[str, Mapping[Any, int]]) -> None:
        """Count rows that were looked at elsewhere.

        :param rows: split -> kind -> rows.
        """
        for split, counts in rows.items():
            self.rows.setdefault(split, Counter()).update(counts)

    def _looked_at(self, texts: pa.Array) -> list[int]:
        """Return the rows that may hold some."""
        import numpy as np
        from pyarrow import compute

        may = np.zeros(len(texts), dtype=bool)
        if "email" in self._actions:
            may |= compute.match_substring(texts, _AT).to_numpy(zero_copy_only=False)
        if self._actions.keys() - {"email"}:
            may |= compute.match_substring_regex(texts, _SEVEN_DIGITS).to_numpy(zero_copy_only=False)
        return [int(row) for row in np.flatnonzero(may)]

    def document(self) -> dict[Kind, dict[str, Any]]:
        """Return what ``dataset.json`` says of each kind that is looked for: what became of how many rows."""
        counts = {split: self.rows.get(split, Counter()) for split in ("train", "evaluation")}
        return {
            kind: {"action": action, "rows": {split: found[kind] for split, found in counts.items()}}
            for kind, action in self._actions.items()
        }

    def lines(self) -> Iterator[str]:
        """Yield a line for each kind that was found."""
        for kind, entry in self.document().items():
            if rows := sum(entry["rows"].values()):
                yield f"Warning: {NAMES[kind]} in {rows:,} rows ({_BECAME[entry['action']]})."


_BECAME = {"tell": "they stay", "mask": "masked", "refuse": "refused"}


def refusal(kind: Kind) -> str:
    """Return what is wrong with a row, as a message has it."""
    return f"the text holds {_ONE[kind]}"


#: Message -> what to do about it.
REMEDIES = {refusal(kind): REMEDY.format(kind) for kind in NAMES}
