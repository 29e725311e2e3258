"""Section ``data.personal_data`` of a model's YAML: what becomes of rows that hold personal data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from include.contracts.section import Section

Action = Literal["ignore", "tell", "mask", "refuse"]
Kind = Literal["email", "phone", "card", "iban"]

_ACTIONS = "`tell` counts, `mask` puts `[{0}]` in its place, `refuse` refuses the data, `ignore` does not look."


class PersonalDataConfig(Section):
    """What preprocessing does with personal data in texts; it finds what has a form that can be checked, and no names.

    Nothing that was found is ever printed.
    """

    email: Action = Field("tell", description="E-mail addresses. " + _ACTIONS.format("email"))
    phone: Action = Field("tell", description="Phone numbers with a country code, and those of North America.")
    card: Action = Field("tell", description="Numbers of payment cards: a known beginning, and Luhn's check digit.")
    iban: Action = Field("tell", description="International bank account numbers: length and check digits.")

    def actions(self) -> Iterator[tuple[Kind, Action]]:
        """Yield what becomes of each kind that is looked for."""
        # What is longest first: the digits of an account number may look like those of a card or a phone.
        found: tuple[tuple[Kind, Action], ...] = (
            ("email", self.email),
            ("iban", self.iban),
            ("card", self.card),
            ("phone", self.phone),
        )
        yield from ((kind, action) for kind, action in found if action != "ignore")
