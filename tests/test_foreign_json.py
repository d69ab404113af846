"""Foreign JSON: values as written, or ValueError in one line."""

import pytest

from featurefields.foreign_json import parsed


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64 - 1, -(2**63)])
def test_whole_numbers_of_64_bits_stay_whole(number: int) -> None:
    assert parsed(f'{{"a": [{number}, 0.5]}}') == {"a": [number, 0.5]}


@pytest.mark.parametrize(
    "text",
    [
        str(2**64),
        f"[-{10**30}]",
        "1" * 400,
        "9" * 100_000,
        '{"a":' * 100_000,
        "[" * 100_000,
        "{",
        "",
        b"\xff\xfe\x00",
        "[1,\n\n x]",
    ],
    ids=lambda text: repr(text[:9]),
)
def test_what_is_none_is_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]{5,200}$"):
        parsed(text)
