"""Texts and labels as columns of Arrow: what the same Python functions give value by value, for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from include.classifier.serving.text import clean

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: What cleaning may change: all but printable ASCII, and spaces that are doubled or at an end.
_UNCLEAN = r"[^!-~ ]|  |^ | $"


class Texts(NamedTuple):
    """A column of texts, and what is wrong with them."""

    values: pa.Array  #: Strings; null for what is none.
    are_texts: np.ndarray  #: Whether each value is a string or missing, shape (rows,).
    are_unicode: np.ndarray  #: Whether each text can be written as UTF-8, shape (rows,).


def as_texts(values: pa.Array | list[Any]) -> Texts:
    """Return whatever stands in a text column as strings."""
    import numpy as np
    import pyarrow as pa

    values = _decoded(values)
    if isinstance(values, pa.Array):
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            fine = np.ones(len(values), dtype=bool)
            return Texts(values.cast(pa.string()), fine, fine)
        values = values.to_pylist()
    are_texts = np.array([value is None or isinstance(value, str) for value in values], dtype=bool)
    texts = [value if isinstance(value, str) else None for value in values]
    try:
        return Texts(pa.array(texts, pa.string()), are_texts, np.ones(len(texts), dtype=bool))
    except UnicodeEncodeError:
        # JSON can write half of a surrogate pair, which no file of ours could hold.
        encoded = [None if text is None else text.encode(errors="replace").decode() for text in texts]
        same = [text == other for text, other in zip(texts, encoded, strict=True)]
        return Texts(pa.array(encoded, pa.string()), are_texts, np.array(same, dtype=bool))


def may_hold_texts(kind: pa.DataType) -> bool:
    """Say whether :func:`as_texts` may find texts in a column of a type; in numbers, dates and lists it finds none."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    strings = types.is_string, types.is_large_string, types.is_string_view, types.is_null, _is_bytes
    return any(is_it(kind) for is_it in strings)


def joined(columns: Sequence[pa.Array], separator: str) -> pa.Array:
    """Return the texts of several columns as one column; what is null or empty leaves no separator."""
    import pyarrow as pa
    from pyarrow import compute

    if len(columns) == 1:
        return columns[0]
    filled = [compute.if_else(compute.equal(column, ""), pa.scalar(None, pa.string()), column) for column in columns]
    return compute.binary_join_element_wise(*filled, separator, null_handling="skip")


def unescape_all(texts: pa.Array) -> pa.Array:
    r"""Return texts without the escapes of some exports: a space for ``\n``, a quotation mark for ``\"``."""
    from pyarrow import compute

    # However often it was escaped.
    broken = compute.replace_substring_regex(texts, r"\\+n", " ")
    return compute.replace_substring_regex(broken, r'\\+"', '"')


def clean_all(texts: pa.Array) -> pa.Array:
    """Return what :func:`clean` makes of each text; of a null it makes an empty one.

    Only texts that it may change are handed to it, which for most data are few.
    """
    import pyarrow as pa
    from pyarrow import compute

    texts = texts.fill_null("")
    unclean = compute.match_substring_regex(texts, _UNCLEAN)
    cleaned = [clean(text) for text in texts.filter(unclean).to_pylist()]
    return compute.replace_with_mask(texts, unclean, pa.array(cleaned, pa.string())) if cleaned else texts


def distinct(values: pa.Array | list[Any]) -> tuple[list[Any], np.ndarray]:
    """Return values without those that are the same, and for each row the index of its value, shape (rows,)."""
    import numpy as np
    import pyarrow as pa

    values = _decoded(values)
    if isinstance(values, pa.Array):
        try:
            encoded = values.dictionary_encode(null_encoding="encode")
            return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        except pa.ArrowNotImplementedError:  # lists and structs
            values = values.to_pylist()
    return values, np.arange(len(values))


def _decoded(values: pa.Array | list[Any]) -> pa.Array | list[Any]:
    """Return the values of a dictionary column, which is how pandas writes its categories, and bytes as their text.

    Bytes that are not UTF-8 stay bytes.
    """
    import pyarrow as pa

    if not isinstance(values, pa.Array):
        return values
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    if _is_bytes(values.type):
        try:
            return values.cast(pa.large_binary()).cast(pa.large_string())
        except pa.ArrowInvalid:  # some are not UTF-8
            return [_text_of(value) for value in values.to_pylist()]
    return values


def _is_bytes(kind: pa.DataType) -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _text_of(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value
