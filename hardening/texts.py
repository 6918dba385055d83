"""Hostile texts for the fuzzers, in every encoding and in none."""

from __future__ import annotations

from random import Random

_PLANES = [
    *((0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F)),
    *((0xE00, 0xE7F), (0x1100, 0x11FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)),
    *((0xE000, 0xF8FF), (0xFFF0, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x2FFFF)),
    *((plane << 16, (plane << 16) + 0xFFFF) for plane in range(3, 17)),
]
PIECES = (
    *(
        "<unk>",
        "<s>",
        "</s>",
        "<s",
        "s>",
        "\\n",
        "\\",
        '"',
        "'",
        "``",
        "''",
        "...",
        "--",
        "&C",
        "_",
    ),
    *(
        " ",
        "  ",
        "\t",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\0",
        "\f",
        "\v",
        "\x1c",
        "\x1e",
        "\x85",
        "\x7f",
    ),
    *("\u2028", "\u2029", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\ufffe", "\ufffd"),
    *(
        "e\u0301",
        "\u0301",
        "\u0300" * 40,
        "\u202e",
        "\u2066",
        "\u0130",
        "ß",
        "ﬁ",
        "ǆ",
        "Ċ",
        "Ġ",
        "ġ",
    ),
    *(
        "the",
        "king",
        "of",
        "a",
        "b",
        "x",
        "don't",
        "'tis",
        "3,000.5",
        "U.S.",
        "10:30",
        "e.g.",
        "$5",
    ),
    *(
        "can not",
        "gonna",
        "'em",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "%",
        "|",
        "^",
        "~",
        "@",
        "#",
        "=",
        "+",
    ),
    *(
        "\x1b[2J",
        "\x9b31m",
        "\x1b]0;x\x07",
        "[red]",
        "[/]",
        "{0}",
        "%s",
        "${x}",
        "</script>",
        "🏳️‍🌈",
        "👩‍👩‍👧",
    ),
)
ENCODINGS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "latin-1"),
    *("cp1252", "ascii", "shift_jis", "euc-jp", "gb18030", "big5", "koi8-r", "iso2022_jp", "hz"),
    *("cp037", "mac-roman", "utf-8-variants", "punycode", "idna", "unicode_escape", "undefined"),
    *("raw_unicode_escape", "base64", "rot13", "hex", "zlib", "bz2", "uu", "quopri", "mbcs", "oem"),
    *("", " ", "\0", "utf-8\0", "none", "../utf-8", "encodings", "charmap", "tis-620", "x" * 500),
)


def text(rng: Random, longest: int = 60) -> str:
    """Some text, perhaps with lone surrogates."""
    shape = rng.random()
    if shape < 0.03:
        return ""
    if shape < 0.06:
        return rng.choice(PIECES)
    if shape < 0.09:
        return rng.choice(("a", "é", "\u0301", " ", "\n", "-", "_", "'", "😀")) * rng.randint(
            1, 1500
        )
    pieces = [_piece(rng) for _ in range(rng.randint(1, longest))]
    if rng.random() < 0.5:  # the same again, so that there is something to learn
        pieces *= rng.randint(2, 4)
    return rng.choice(("", " ", " ", " ", "\n")).join(pieces)


def _piece(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(PIECES)
    if kind < 0.97:
        low, high = rng.choice(_PLANES)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 4)))
    return chr(rng.randint(0xD800, 0xDFFF))


def raw(rng: Random, longest: int = 60) -> bytes:
    """The bytes of some text in some encoding, perhaps damaged, or no text at all."""
    kind = rng.random()
    if kind < 0.05:
        return rng.randbytes(rng.randint(0, 200))
    made = text(rng, longest)
    if kind < 0.15:
        encoding = rng.choice(("utf-16", "utf-32", "latin-1", "utf-7", "shift_jis", "utf-8-sig"))
        return made.encode(encoding, "replace")
    content = made.encode("utf-8", "surrogatepass" if rng.random() < 0.3 else "replace")
    if kind < 0.4:
        content = damaged(rng, content)
    return content


def damaged(rng: Random, content: bytes) -> bytes:
    """The bytes, a few of them changed, lost, doubled or added."""
    out = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(out))
        kind = rng.randrange(5)
        if kind == 0:
            out[at:at] = rng.choice(
                (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\0")
            )
        elif kind == 1 and out:
            out[at % len(out)] = rng.randrange(256)
        elif kind == 2:
            del out[at : at + rng.randint(1, 4)]
        elif kind == 3:
            out[at:at] = out[at : at + rng.randint(1, 30)]
        else:
            del out[at:]
    return bytes(out)
