"""Numbers and dates of a workbook are the text that stands in its cells for whoever looks at it."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from include.classifier.data.formats.cells import cell_text

MOMENT = datetime(2024, 1, 5, 9, 7, 3)


@pytest.mark.parametrize(
    ("value", "shown_as", "text"),
    [
        (None, "General", None),
        ("fine", "General", "fine"),
        ("a_x000D_\nb", "General", "a\r\nb"),
        ("_x0041_ stays", "General", "_x0041_ stays"),
        (True, "General", "TRUE"),
        (4, "General", "4"),
        (4.0, "General", "4"),
        (0.1 + 0.2, "General", "0.3"),
        (4.5, "@", "4.5"),
        (7, "000", "007"),
        (-7, "000", "-007"),
        (1234567, "#,##0", "1,234,567"),
        (4, "0.00", "4.00"),
        (2.675, "0.00", "2.68"),
        (1234.5, "#,##0.00", "1,234.50"),
        (0.5, "0%", "50%"),
        (0.1234, "0.0%", "12.3%"),
        (4.5, '"EUR" 0.00', "4.5"),
        (MOMENT, "mm-dd-yy", "2024-01-05"),
        (MOMENT, "m/d/yy h:mm", "2024-01-05 09:07:03"),
        (MOMENT, "[$-407]d. mmmm yyyy", "2024-01-05"),
        (MOMENT, "yyyy-mm-dd", "2024-01-05"),
        (MOMENT, "DD.MM.YYYY", "05.01.2024"),
        (MOMENT, "d/m/yy", "5/1/24"),
        (MOMENT, "yyyy-mm-dd hh:mm:ss", "2024-01-05 09:07:03"),
        (MOMENT, "h:m", "9:7"),
        (MOMENT, "mm:ss", "07:03"),
        (time(9, 7, 3), "h:mm", "9:07"),
        (time(9, 7, 3), "h:mm AM/PM", "09:07:03"),
        (timedelta(hours=30, minutes=5), "[h]:mm:ss", "30:05:00"),
    ],
)
def test_cells_are_what_a_person_sees(value: Any, shown_as: str, text: str | None) -> None:
    cell: Any = SimpleNamespace(value=value, number_format=shown_as, data_type="n")

    assert cell_text(cell) == text


def test_errors_are_no_text() -> None:
    cell: Any = SimpleNamespace(value="#N/A", number_format="General", data_type="e")

    assert cell_text(cell) is None
