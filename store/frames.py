r"""The bytes of a segment: its magic number and its frames, and what damage means.

    segment   magic, frame, frame, ...
    magic     "wtlog" and the version of the format in three digits: 8 bytes
    frame     length of the payload   4 bytes, little-endian
              checksum of the payload and its padding (crc-32)   4 bytes
              checksum of these 8 bytes   4 bytes
              payload
              1 to 4 bytes of padding (0xa5), so that every frame begins at a multiple of 4

The header has a checksum of its own so that a damaged length is not taken for a frame that was cut off.

Torn or corrupt? A crash leaves the last frame of the last segment incomplete: it ends early, or (after a loss of power) sectors of it were never
written and read as zeros. That is a *torn tail*: nothing acknowledged was in it, it is cut off and reported. Damage of any other
kind is an error, as is damage with an intact frame after it: then the tail was not torn, or what was torn had been
acknowledged. The alignment serves this decision: each piece of a frame that lies in one 512-byte sector has a byte that is not zero, the padding in
the last one and a whole header field in the first, unless the payload itself has 512 zeros.

Several frames that wait for one sync are written back in any order, so a loss of power may keep a later one and not an earlier one. None of them
was acknowledged. With durability `fsync` each frame therefore says up to where the segment was known to be synced when it was written; an intact frame
that says so of no more than what is before the damage is no witness that the damaged one had been acknowledged, and belongs to the torn tail
(tests/store/test_crash.py, test_unsynced_records_are_written_back_in_any_order, test_a_hole_in_what_was_synced_is_refused).

Payloads begin with a byte that names their kind:

    H  msgpack map: what the segment continues (store.filelog) and, in the first segment, what the user put in front of the log
    E  revision and ended lease (0: none), 8 bytes each; then for each event 4 bytes of length and its canonical bytes
    M  msgpack array: a mark (store.journal)
    Z  msgpack map: the log was closed here, at this head and digest
    S  in front of E, M or Z: so many bytes of the segment were synced when this was written, 4 bytes
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final
from zlib import crc32

import attrs

from store.errors import LogCorrupt, UnsupportedVersion

FORMAT: Final = 1
_MAGIC_NAME: Final = b"wtlog"
MAGIC: Final = _MAGIC_NAME + b"%03d" % FORMAT

_SECTOR: Final = 512
_LENGTHS: Final = Struct("<II")
_CHECKSUM: Final = Struct("<I")
_HEADER: Final = Struct("<III")
_SYNCED: Final = Struct("<cI")
_PADDING: Final = (b"\xa5" * 4, b"\xa5" * 3, b"\xa5" * 2, b"\xa5")
"""By the length of what is padded, modulo 4."""


def frame(payload: bytes) -> bytes:
    """The frame of a payload."""
    return frame_of([payload])


def frame_of(parts: list[bytes]) -> bytes:
    """The frame of a payload in parts; takes the list over."""
    length = sum(map(len, parts))
    parts.append(_PADDING[length & 3])
    body = b"".join(parts)
    lengths = _LENGTHS.pack(length, crc32(body))
    return b"".join((lengths, _CHECKSUM.pack(crc32(lengths)), body))


def synced_prefix(synced: int) -> bytes:
    """What stands in front of a payload that is written when so many bytes of the segment are known to be synced."""
    return _SYNCED.pack(b"S", synced)


def unprefixed(payload: bytes) -> bytes:
    """The payload without that."""
    return payload[_SYNCED.size :] if payload[:1] == b"S" else payload


def _may_follow_unsynced(payload: bytes, offset: int) -> bool:
    """Whether this may have been written while what is at `offset` was not yet synced."""
    return (
        len(payload) >= _SYNCED.size
        and payload[:1] == b"S"
        and _SYNCED.unpack_from(payload)[1] <= offset
    )


@attrs.frozen
class Torn:
    """A tail that was cut off: where it began, and how long it was."""

    segment: str
    offset: int
    length: int


@attrs.frozen
class Frame:
    """A payload and where its frame lies."""

    payload: bytes
    offset: int
    end: int


@attrs.define
class Scanner:
    """Reads the frames of one segment, and decides about damage."""

    segment: str
    data: bytes
    is_last: bool
    """Only the last segment of a log may have a torn tail."""
    most_bytes: int
    torn: Torn | None = None
    """The torn tail, once the frames have been read."""

    def frames(self) -> Iterator[Frame]:
        """The frames in order. Raises LogCorrupt, UnsupportedVersion."""
        if not self._check_magic():
            return
        offset = len(MAGIC)
        while offset < len(self.data):
            found = self._frame_at(offset)
            if found is None:
                self._damaged(offset)
                return
            yield found
            offset = found.end

    def _check_magic(self) -> bool:
        """Whether there is a magic number, and not a torn one."""
        magic = self.data[: len(MAGIC)]
        if magic == MAGIC:
            return True
        torn = MAGIC.startswith(magic) or not any(self.data)
        if self.is_last and torn:
            self.torn = Torn(self.segment, 0, len(self.data))
            return False
        version = magic[len(_MAGIC_NAME) :]
        if magic.startswith(_MAGIC_NAME) and version.isdigit() and int(version) > FORMAT:
            raise UnsupportedVersion(self.segment, f"format {int(version)}", f"format {FORMAT}")
        raise LogCorrupt(
            self.segment, 0, "this is no segment of a log: its first 8 bytes are wrong"
        )

    def _frame_at(self, offset: int) -> Frame | None:
        """The frame at `offset`, if it is intact."""
        start = offset + _HEADER.size
        if start > len(self.data):
            return None
        length, checksum, header_checksum = _HEADER.unpack_from(self.data, offset)
        if header_checksum != crc32(self.data[offset : offset + _LENGTHS.size]):
            return None
        stop = start + length
        body_stop = stop + len(_PADDING[length & 3])
        if length > self.most_bytes or body_stop > len(self.data):
            return None
        if checksum != crc32(self.data[start:body_stop]):
            return None
        return Frame(self.data[start:stop], offset, body_stop)

    def _damaged(self, offset: int) -> None:
        """Note a torn tail at `offset`, or raise."""
        what = self._incomplete(offset)
        if what is None:
            raise LogCorrupt(self.segment, offset, "the checksum is wrong")
        if not self.is_last:
            raise LogCorrupt(self.segment, offset, f"{what}, and other segments follow")
        after = self._witness_after(offset)
        if after is not None:
            raise LogCorrupt(
                self.segment, offset, f"{what}, and an intact record follows at {after}"
            )
        self.torn = Torn(self.segment, offset, len(self.data) - offset)

    def _incomplete(self, offset: int) -> str | None:
        """How the frame at `offset` was never wholly written; None if it was, and is damaged."""
        end = min(self._extent(offset), len(self.data))
        if self._extent(offset) > len(self.data):
            return "a record ends early"
        position = offset
        while position < end:
            stop = min(end, position - position % _SECTOR + _SECTOR)
            if not any(self.data[position:stop]):
                return "a record was not wholly written"
            position = stop
        return None

    def _extent(self, offset: int) -> int:
        """Where the frame at `offset` ends, as far as its header can be believed."""
        start = offset + _HEADER.size
        if start > len(self.data):
            return start
        length, _, header_checksum = _HEADER.unpack_from(self.data, offset)
        if header_checksum != crc32(self.data[offset : offset + _LENGTHS.size]):
            return start
        return start + int(length) + len(_PADDING[length & 3])

    def _witness_after(self, offset: int) -> int | None:
        """Where the next intact frame begins, wherever that is, that may not have been written before `offset` was synced."""
        position = offset + 4 - offset % 4
        while position <= len(self.data) - _HEADER.size:
            found = self._frame_at(position)
            if found is None:
                position += 4
            elif _may_follow_unsynced(found.payload, offset):
                position = found.end
            else:
                return position
        return None
