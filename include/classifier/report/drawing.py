"""What pictures are drawn with: SVG by ElementTree, which escapes whatever stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement, tostring

#: Colours in light and dark, and what every picture draws with.
STYLE = (Path(__file__).parent / "pictures.css").read_text(encoding="utf-8")

Point: TypeAlias = tuple[float, float]


def as_text(picture: Element) -> str:
    """Return the picture for a page that has :data:`STYLE` already."""
    return tostring(picture, encoding="unicode")


def as_file(picture: Element) -> bytes:
    """Return the picture as a file of its own."""
    style = Element("style")
    style.text = STYLE
    picture.insert(0, style)
    content: bytes = tostring(picture, encoding="utf-8", xml_declaration=True)
    picture.remove(style)
    return content


def picture(width: float, height: float, description: str) -> Element:
    """Return an empty picture.

    :param description: for people who do not see it.
    """
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    return Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria-label": description} | size)


def line(parent: Element, start: Point, end: Point, kind: str) -> Element:
    """Draw a line."""
    ends = zip(("x1", "y1", "x2", "y2"), (*start, *end), strict=True)
    return SubElement(parent, "line", {name: f"{value:g}" for name, value in ends} | {"class": kind})


def rectangle(parent: Element, x: float, y: float, width: float, height: float, kind: str) -> Element:
    """Draw a rectangle."""
    sizes = {"x": x, "y": y, "width": width, "height": height}
    return SubElement(parent, "rect", {name: f"{value:g}" for name, value in sizes.items()} | {"class": kind})


def circle(parent: Element, centre: Point, radius: float, kind: str) -> Element:
    """Draw a circle."""
    return SubElement(
        parent, "circle", {"cx": f"{centre[0]:g}", "cy": f"{centre[1]:g}", "r": f"{radius:g}", "class": kind}
    )


def text(parent: Element, place: Point, content: str, kind: str) -> Element:
    """Write a text."""
    element = SubElement(parent, "text", {"x": f"{place[0]:g}", "y": f"{place[1]:g}", "class": kind})
    element.text = content
    return element


def hover(element: Element, content: str) -> None:
    """Say something where the mouse is over an element."""
    SubElement(element, "title").text = content


def shortened(name: str, longest: int) -> str:
    """Return a name that is no longer than so many characters."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
