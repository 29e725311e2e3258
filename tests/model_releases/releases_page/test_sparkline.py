"""The small picture."""

from __future__ import annotations

from model_releases.releases_page.sparkline import HEIGHT, WIDTH, draw


def test_one_release_is_no_picture() -> None:
    assert draw([("1", "live", 0.9)], metric="Macro F1") is None


def test_every_point_lies_in_the_picture_and_higher_is_higher() -> None:
    picture = draw([("1", "retired", 0.5), ("2", "rejected", 0.1), ("3", "live", 0.9)], metric="Macro F1")
    assert picture is not None
    assert all(0 < point.x < WIDTH and 0 < point.y < HEIGHT for point in picture.points)
    first, lowest, highest = picture.points
    assert first.x < lowest.x < highest.x
    assert highest.y < first.y < lowest.y
    assert picture.description == "Macro F1 of the last 3 candidates: lowest 0.1000, highest 0.9000, newest 0.9000."


def test_equal_values_are_a_line_in_the_middle() -> None:
    picture = draw([("1", "live", 0.9), ("2", "live", 0.9)], metric="Macro F1")
    assert picture is not None
    assert {point.y for point in picture.points} == {HEIGHT / 2}
