"""Damage bytes, JSON and safetensors files, with the checksums corrected or not.

Every function takes a generator first; the same generator gives the same damage.
"""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mutation = Callable[[Random, bytes], bytes]

NUMBERS = (
    *(0, 1, 2, 3, -1, -2, 7, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1),
    *(
        2**63,
        2**64,
        10**9,
        10**12,
        10**18,
        10**30,
        10**400,
        10**4299,
        -(10**9),
        -(2**63),
        -(10**30),
    ),
    *(0.0, -0.0, 0.5, 1.0, 1.5, 2.0, -1.0, 1e-9, 5e-324, 1e-300, 1e9, 1e30, 1e38, 1e39, 1.7e308),
    *(float("inf"), float("-inf"), float("nan"), -1e300, 1e300),
)
TEXTS = (
    *("", " ", "\0", "x", "é", "\ud800", "\U0001f600", "null", "1", "-1", "nan", "a\nb", "\x1b[2J"),
    *("../../x", "/etc/passwd", "ngram", "rnn", "ffnn", "mixture", "cache", "stream", "lines"),
    *("char", "word", "whitespace", "treebank", "bpe", "lstm", "gru", "elman", "relu", "tanh"),
    *("os:system", "lmsuite.errors:LmError", "__class__", "weights", "settings", "x" * 5000),
    *("katz", "mle", "arpa", "stupid-backoff", "add-k", "kneser-ney", "modified-kneser-ney"),
)


def number(rng: Random) -> float:
    """A number that programs trip over."""
    return rng.choice(NUMBERS) if rng.random() < 0.8 else rng.randint(-10, 300)


def json_value(rng: Random) -> Any:
    """Anything that JSON can say."""
    kind = rng.random()
    if kind < 0.5:
        return number(rng)
    if kind < 0.7:
        return rng.choice(TEXTS)
    if kind < 0.8:
        return rng.choice((None, True, False))
    if kind < 0.9:
        return [json_value(rng) for _ in range(rng.choice((0, 1, 1, 2, 3, 9)))]
    if kind < 0.97:
        return {rng.choice(TEXTS): json_value(rng) for _ in range(rng.choice((0, 1, 2, 3)))}
    return nested(rng.choice((30, 70, 200, 900, 3000)), rng.random() < 0.5)


def nested(depth: int, lists: bool) -> Any:
    """Lists of lists, or objects of objects, so deep."""
    value: Any = 0
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    return value


def dumped(value: Any) -> str:
    """JSON of a value of any depth, which `json.dumps` refuses."""
    pieces: list[str] = []
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, _Raw):
            pieces.append(part)
        elif isinstance(part, dict):
            keys = [_Raw(json.dumps(str(key)) + ":") for key in part]
            waiting += _joined("{}", [[key, part[k]] for key, k in zip(keys, part, strict=True)])
        elif isinstance(part, list | tuple):
            waiting += _joined("[]", [[entry] for entry in part])
        elif isinstance(part, int) and not isinstance(part, bool):
            pieces.append(_digits(part))
        else:
            pieces.append(json.dumps(part))
    return "".join(pieces)


def _joined(brackets: str, items: list[list[Any]]) -> list[Any]:
    """Brackets around the items, with commas between them; the last first."""
    between = [[_Raw(",")]] * max(0, len(items) - 1)
    parts = [*items, *between]
    parts[::2], parts[1::2] = items, between
    flat = [_Raw(brackets[0]), *chain.from_iterable(parts), _Raw(brackets[1])]
    return flat[::-1]


class _Raw(str):
    """Text that stands in JSON as it is."""


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # longer than Python likes to print
        return "9" * 4300


def edited(rng: Random, document: Any) -> Any:
    """A copy of JSON in which one thing, somewhere, is another; what is too deep is left."""
    try:
        changed = json.loads(json.dumps(document))
    except RecursionError:
        return document
    holders = [holder for holder in _containers(changed) if len(holder)]
    if not holders:
        return json_value(rng)
    holder = rng.choice(holders)
    places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    place = rng.choice(places)
    kind = rng.random()
    if kind < 0.15:
        del holder[place]
    elif kind < 0.25 and isinstance(holder, dict):
        holder[rng.choice((*TEXTS, *places))] = holder.pop(place)
    elif kind < 0.3 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = json_value(rng)
    elif kind < 0.35 and isinstance(holder, list):
        holder[place:place] = [holder[place]] * rng.choice((1, 2, 50))
    elif kind < 0.45:
        holder[place], other = holder[rng.choice(places)], holder[place]
        holder[rng.choice(places)] = other
    elif kind < 0.6 and _is_number(holder[place]):
        old = holder[place]
        holder[place] = rng.choice(
            (old + 1, old - 1, -old, old * 2, old + 0.5, float(old), str(old))
        )
    else:
        holder[place] = json_value(rng)
    return changed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _containers(document: Any) -> list[Any]:
    found, waiting = [], [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict | list):
            found.append(part)
            waiting += part.values() if isinstance(part, dict) else part
    return found


def damaged(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """The bytes after one to four accidents."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_ACCIDENTS)(rng, data)
    if others and rng.random() < 0.1:
        other = rng.choice(others)
        cut = rng.randint(0, len(other))
        data = data[: rng.randint(0, len(data))] + other[cut:]
    return data


def packed_again(beginning: bytes, again: bytes, times: int) -> bytes:
    """What gzip makes of `beginning` and so many times `again`, of which one is compressed.

    After a full flush a block of deflate says nothing of those before it.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = deflate.compress(beginning) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(again) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(beginning)
    for _ in range(times):
        checksum = zlib.crc32(again, checksum)
    length = (len(beginning) + times * len(again)) % 2**32
    header = b"\x1f\x8b\x08" + bytes(7)
    return header + first + block * times + deflate.flush() + struct.pack("<II", checksum, length)


def _flipped(rng: Random, data: bytes) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwritten(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    begin = rng.randint(0, len(data))
    length = rng.choice((1, 1, 2, 4, 8, 100))
    fill = rng.choice((b"\0", b"\xff", b"\x80", b"\x7f", b"\n", b" ", b"9", b'"', b"-"))
    changed[begin : begin + length] = fill * length if rng.random() < 0.7 else rng.randbytes(length)
    return bytes(changed)


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _without_part(rng: Random, data: bytes) -> bytes:
    begin = rng.randint(0, len(data))
    return data[:begin] + data[begin + rng.choice((1, 2, 7, 8, 64, 1000)) :]


def _with_part_again(rng: Random, data: bytes) -> bytes:
    begin = rng.randint(0, len(data))
    part = data[begin : begin + rng.choice((1, 8, 64, 1000))] * rng.choice((1, 1, 3, 100))
    place = rng.choice((begin, rng.randint(0, len(data)), len(data)))
    return data[:place] + part[:20_000] + data[place:]


def _length_changed(rng: Random, data: bytes) -> bytes:
    old = int.from_bytes(data[:8], "little")
    new = rng.choice((old + 1, old - 1, old + 8, 2 * old, rng.randrange(2**64), *NUMBERS[:24]))
    return (int(new) % 2**64).to_bytes(8, "little") + data[8:]


_ACCIDENTS: tuple[Mutation, ...] = (
    _flipped,
    _flipped,
    _overwritten,
    _cut,
    _without_part,
    _with_part_again,
    _length_changed,
)


@dataclass
class Safetensors:
    """A safetensors file taken apart."""

    metadata: dict[str, Any]  # the entry that is JSON, parsed
    entry: str  # its name
    arrays: dict[str, NDArray[Any]]
    header: dict[str, Any] = field(default_factory=dict)  # what is said instead of the truth

    @classmethod
    def parsed(cls, data: bytes, entry: str) -> Safetensors:
        """The file in `data`, whose metadata have this JSON entry."""
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        metadata = json.loads(header.pop("__metadata__")[entry])
        arrays = {}
        for name, told in header.items():
            begin, end = told["data_offsets"]
            raw = np.frombuffer(data[start + begin : start + end], DTYPES[told["dtype"]])
            arrays[name] = raw.reshape(told["shape"]).copy()
        return cls(metadata, entry, arrays)

    def copy(self) -> Safetensors:
        """One that can be changed."""
        arrays = {name: array.copy() for name, array in self.arrays.items()}
        return Safetensors(copy.deepcopy(self.metadata), self.entry, arrays)

    def checksum(self) -> int:
        """CRC-32 of the arrays' names and bytes, in the order of the names."""
        total = 0
        for name in sorted(self.arrays):
            spelled = name.encode("utf-8", "surrogatepass")
            total = zlib.crc32(self.arrays[name].tobytes(), zlib.crc32(spelled, total))
        return total

    def described(self) -> dict[str, Any]:
        """The header that tells the truth, widest types first, without metadata."""
        told: dict[str, Any] = {}
        offset = 0
        for name, array in self._ordered():
            end = offset + array.nbytes
            kind = KINDS[array.dtype]
            told[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, end]}
            offset = end
        return told

    def _ordered(self) -> list[tuple[str, NDArray[Any]]]:
        return sorted(self.arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))

    def built(self, metadata: Any = None, told: Any = None) -> bytes:
        """The file; with other metadata (JSON) or another description of the arrays, if given."""
        said = dumped(self.metadata if metadata is None else metadata)
        told = self.described() if told is None else told
        header = (
            dumped({"__metadata__": {self.entry: said}, **told})
            if isinstance(told, dict)
            else dumped(told)
        )
        spelled = header.encode("utf-8", "surrogatepass")
        spelled += b" " * (-len(spelled) % 8)
        parts = [array.tobytes() for _, array in self._ordered()]
        return b"".join((len(spelled).to_bytes(8, "little"), spelled, *parts))


DTYPES = {
    **{"F64": np.dtype("<f8"), "I64": np.dtype("<i8"), "U64": np.dtype("<u8")},
    **{"F32": np.dtype("<f4"), "I32": np.dtype("<i4"), "U32": np.dtype("<u4")},
    **{"F16": np.dtype("<f2"), "I16": np.dtype("<i2"), "U16": np.dtype("<u2")},
    **{"I8": np.dtype("i1"), "U8": np.dtype("u1"), "BOOL": np.dtype("?")},
}
KINDS = {dtype: name for name, dtype in DTYPES.items()}
_FLOATS = (
    *(np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, -0.5, -99.0, 1e-30, -1e-30, 5e-324, 1e-45),
    *(88.0, 89.0, -104.0, 710.0, -746.0, 1e10, -1e10, 3e38, -3e38, 1e308, -1e308),
)


def with_damaged_arrays(rng: Random, file: Safetensors) -> Safetensors:
    """The file with other arrays than it had: some values, or a whole array, or their names."""
    file = file.copy()
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        name = rng.choice(sorted(file.arrays)) if file.arrays else "x"
        array = file.arrays.get(name, np.zeros(3, np.float32))
        kind = rng.random()
        if kind < 0.6:
            file.arrays[name] = _other_values(rng, array)
        elif kind < 0.75:
            file.arrays[name] = _other_shape(rng, array)
        elif kind < 0.83:
            file.arrays[name] = _other_dtype(rng, array)
        elif kind < 0.88:
            other = rng.choice(sorted(file.arrays)) if file.arrays else name
            file.arrays[name], file.arrays[other] = file.arrays.get(other, array), array
        elif kind < 0.94:
            file.arrays.pop(name, None)
        else:
            file.arrays[rng.choice((*TEXTS, name + "x", "0." + name, "model." + name))] = array
    return file


def _other_values(rng: Random, array: NDArray[Any]) -> NDArray[Any]:
    flat = array.reshape(-1).copy()
    if not flat.size:
        return array
    kind = rng.random()
    places = [rng.randrange(flat.size) for _ in range(rng.choice((1, 1, 2, 10)))]
    with np.errstate(all="ignore"):
        if kind < 0.45:
            flat[places] = _value(rng, flat.dtype)
        elif kind < 0.55:
            flat[:] = _value(rng, flat.dtype)
        elif kind < 0.65:
            flat[places] = flat[places[::-1]]
        elif kind < 0.75:
            flat = flat[np.array(sorted(range(flat.size), key=lambda _: rng.random()))]
        elif kind < 0.8:
            flat = np.sort(flat)[:: rng.choice((1, -1))].copy()
        elif kind < 0.9:
            flat[places] = (flat[places] + np.ones(1, flat.dtype)).astype(flat.dtype)
        else:
            raw = flat.view(np.uint8)
            raw[:] = np.frombuffer(_flipped(rng, raw.tobytes()), np.uint8)
    return flat.reshape(array.shape)


def _value(rng: Random, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return np.array(rng.choice(_FLOATS)).astype(dtype)
    if dtype.kind == "b":
        return rng.random() < 0.5
    info = np.iinfo(dtype)
    return rng.choice((0, 1, 2, 3, 254, 255, info.max, info.max - 1, info.min)) & int(info.max)


def _other_shape(rng: Random, array: NDArray[Any]) -> NDArray[Any]:
    flat = array.reshape(-1)
    kind = rng.random()
    if kind < 0.25:
        return flat[: rng.randint(0, flat.size)].copy()
    if kind < 0.5:
        return np.concatenate((flat, flat[: rng.choice((1, 2, 100))]))
    if kind < 0.6:
        return flat[:0].reshape(rng.choice(((0,), (0, 3), (3, 0), (0, 0))))
    if kind < 0.7:
        return np.resize(flat, rng.choice((1, 2, 3, 1000))) if flat.size else flat
    if kind < 0.8:
        return array.T.copy()
    return flat.reshape(rng.choice(((1, -1), (-1, 1), (-1, 1, 1), (1,) * 31 + (-1,))))


def _other_dtype(rng: Random, array: NDArray[Any]) -> NDArray[Any]:
    dtype = rng.choice(list(DTYPES.values()))
    with np.errstate(all="ignore"):
        if rng.random() < 0.5:
            return array.astype(dtype)
    raw = array.tobytes()
    return np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype).copy()


def with_lies(rng: Random, told: dict[str, Any]) -> Any:
    """A description of arrays (the safetensors header) that is not true."""
    told = json.loads(json.dumps(told))
    if not told or rng.random() < 0.2:
        return edited(rng, told) if told else told
    name = rng.choice(sorted(told))
    entry = told[name]
    kind = rng.random()
    if kind < 0.3:
        entry["shape"] = _shape(rng, entry["shape"])
    elif kind < 0.5:
        shift = rng.choice((-8, -4, -1, 1, 4, 8, 10**6, 10**12, -(10**12), 2**63))
        which = rng.choice(((0,), (1,), (0, 1)))
        for place in which:
            entry["data_offsets"][place] += shift
    elif kind < 0.6:
        entry["data_offsets"] = told[rng.choice(sorted(told))]["data_offsets"]
    elif kind < 0.7:
        entry["dtype"] = rng.choice((*DTYPES, "BF16", "F8_E4M3", "F8_E5M2", "C64", "F128", "O"))
    elif kind < 0.8:
        for other in told.values():
            other["data_offsets"] = [0, 0]
            other["shape"] = _shape(rng, [0])
    elif kind < 0.9:
        told[rng.choice(TEXTS)] = json_value(rng)
    else:
        entry[rng.choice(("dtype", "shape", "data_offsets", "x"))] = json_value(rng)
    return told


def _shape(rng: Random, shape: list[int]) -> list[Any]:
    kind = rng.random()
    if kind < 0.3:
        return [int(size) for size in _factors(rng, shape)]
    if kind < 0.5:
        return [*shape, *[1] * rng.choice((1, 30, 31, 32, 63, 64, 65, 1000))]
    if kind < 0.7:
        return rng.choice(([0, 10**12], [10**30, 0], [2**63, 0], [0] * 70, [2**32, 2**32, 0]))
    if kind < 0.9:
        return [*shape, rng.choice((10**9, 10**12, 2**32, 2**63, -1, 0, 10**400))]
    return [number(rng) for _ in range(rng.choice((0, 1, 2, 3)))]


def _factors(rng: Random, shape: list[int]) -> list[int]:
    total = 1
    for size in shape:
        total *= size
    divisors = [k for k in range(1, min(total, 1000) + 1) if total % k == 0] or [1]
    first = rng.choice(divisors)
    return rng.choice(([first, total // first], [-1, -total], [total, 1], [1, total], [total]))
