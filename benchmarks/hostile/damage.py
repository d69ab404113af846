"""Damaged copies of valid files: bytes flipped, cut and spliced, numbers and JSON values replaced by absurd ones."""

import json
import re
from random import Random
from typing import Any

ABSURD = (
    *(None, True, False, 0, -1, -(2**31), 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e39, 1e308),
    *(
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        "x",
        "../../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "\ud800",
    ),
    *(
        "\n",
        "é" * 300,
        [],
        [[]],
        [1],
        [0, 0],
        [None] * 3,
        [1e308] * 4,
        {},
        {"a": 1},
        [[0] * 4] * 4,
        "NaN",
        "1e999",
    ),
)
"""What no writer writes."""
NUMBERS = (
    b"0",
    b"-1",
    b"4294967295",
    b"99999999999",
    b"9" * 18,
    b"9" * 400,
    b"1e999",
    b"nan",
    b"-inf",
    b"0x10",
    b"",
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(e[-+]?\d+)?")
DEEP = 100_000


def damaged(content: bytes, random: Random) -> bytes:
    """`content` with one to four damages."""
    for _ in range(random.randint(1, 4)):
        content = random.choice(DAMAGES)(content, random)
    return content


def _flipped(content: bytes, random: Random) -> bytes:
    found = bytearray(content)
    for _ in range(random.randint(1, 4) if found else 0):
        found[random.randrange(len(found))] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
    return bytes(found)


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randint(0, len(content))]


def _spliced(content: bytes, random: Random) -> bytes:
    """A stretch is left out, comes twice, or comes elsewhere."""
    first, last = sorted(random.randint(0, len(content)) for _ in range(2))
    place = random.randint(0, len(content))
    return random.choice(
        (
            content[:first] + content[last:],
            content[:last] + content[first:],
            content[:place] + content[first:last] + content[place:],
        )
    )


def _field_replaced(content: bytes, random: Random) -> bytes:
    """Eight (or four) bytes become a number at the end of its range."""
    width = random.choice((4, 8))
    place = random.randint(0, max(len(content) - width, 0))
    value = random.choice((0, 1, (1 << 8 * width) - 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, 1 << 20))
    return content[:place] + value.to_bytes(width, "little") + content[place + width :]


def _number_replaced(content: bytes, random: Random) -> bytes:
    """A number that is written in digits becomes another."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    one = random.choice(found)
    return content[: one.start()] + random.choice(NUMBERS) + content[one.end() :]


def _value_replaced(content: bytes, random: Random) -> bytes:
    """Somewhere in a JSON document stands something else, nothing, or the document is too deep."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if random.random() < 0.01:
        return b"[" * DEEP + b"]" * DEEP
    node, key = _place(document, random)
    if node is None:
        return json.dumps(random.choice(ABSURD)).encode()
    if random.random() < 0.15:
        del node[key]
    else:
        node[key] = random.choice(ABSURD)
    return json.dumps(document).encode()


def _place(document: Any, random: Random) -> tuple[Any, Any]:
    """A container in a document and a key or an index in it; (None, None) for the document itself."""
    node, key, found = None, None, document
    while isinstance(found, dict | list) and found and (node is None or random.random() < 0.8):
        node, key = found, random.choice(list(found) if isinstance(found, dict) else range(len(found)))
        found = node[key]
    return node, key


DAMAGES = (_flipped, _cut, _spliced, _field_replaced, _number_replaced, _value_replaced, _value_replaced)
