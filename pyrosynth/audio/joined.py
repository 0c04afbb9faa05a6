"""What decoders do not tell of a file: that it holds several recordings, or is cut off."""

import mmap
import re
from typing import Any

LENGTH_UNKNOWN = 3600  # seconds that no file says it has, unless it does not know
BYTES_UNKNOWN = 0x7F000000  # said by programs that write to a pipe; not where sizes have 64 bits
# How libsndfile notes that less is there: of WAV, AIFF, AU, W64, 8SVX and RF64. (What RF64 files
# say of their frames is no use: some programs count the samples of all channels.)
BYTES_SAID = re.compile(
    r"^ *(data|SSND|Data Size|riff|BODY|Riff size) *: (\d+) \(should be (\d+)\)", re.M
)
OGG, FIRST_PAGE = b"OggS\0", 2  # how each page of a stream begins; a flag of its first one
HEADER = 27  # bytes of a page, of which the last one counts the sizes that follow
TAGS = (b"Xing", b"Info")  # in the first frame of an MP3 file, with the size of its own
HAS_FRAMES, HAS_BYTES = 1, 2  # flags of such a tag
OLD_TAG = 128  # bytes of a tag at the end of an MP3 stream
PADDING = 1024  # zeros that may come between two streams, at most
SEARCHED = 4096  # bytes from the start of an MP3 stream, in which its tag is


def fault(file: int) -> str:
    """Say what is wrong with a sound file that is read without an error.

    It may have been joined from several, such as by ``cat a.ogg b.ogg``: that is legal for Ogg
    (RFC 3533, chaining) and usual for MP3, but libsndfile reads the first recording only, and
    nothing tells that there are others. Or an Ogg file ends within a page.

    Args:
        file: Descriptor of the file, whose position stays.

    Returns:
        Words that follow its name; empty if nothing is wrong.
    """
    try:
        content = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # empty, or a pipe
        return ""
    with content:
        is_ogg = content[:5] == OGG
        if _chained(content) if is_ogg else _behind(content):
            return (
                "holds several recordings one after the other, of which the first alone would be "
                "read; export it as one file, or cut it into single ones"
            )
        if is_ogg and _ends_within_a_page(content):
            return "is cut off: its last page is not whole; copy it again, or record it anew"
    return ""


def frames_said(sound: Any) -> int:
    """Return the number of frames that a sound file says it has, as libsndfile's notes tell.

    Args:
        sound: The open ``soundfile.SoundFile``.
    """
    n_frames = int(sound.frames)
    cut = BYTES_SAID.search(sound.extra_info)
    if cut is None:
        return n_frames
    has_64_bits = cut[1] in ("riff", "Riff size")  # of W64 and RF64
    if int(cut[2]) >= BYTES_UNKNOWN and not has_64_bits:
        return n_frames
    return int(n_frames * int(cut[2]) / max(int(cut[3]), 1))


def _ends_within_a_page(content: mmap.mmap) -> bool:
    at = content.rfind(OGG) + HEADER
    if len(content) < at:
        return True
    sizes = content[at : at + content[at - 1]]
    return len(sizes) < content[at - 1] or len(content) < at + len(sizes) + sum(sizes)


def _chained(content: mmap.mmap) -> bool:
    """Whether a stream of an Ogg file begins after others have."""
    at, begun = 0, False
    while (at := content.find(OGG, at)) >= 0:
        first = len(content) > at + 5 and bool(content[at + 5] & FIRST_PAGE)
        if first and begun:
            return True
        begun = begun or not first  # streams side by side begin together
        at += len(OGG)
    return False


def _behind(content: mmap.mmap) -> bool:
    """Whether another MP3 stream comes behind the bytes that the tag of the first one counts."""
    start = _tagged_size(content, 0)
    if start is None:
        return False
    if content[start : start + 3] == b"TAG":  # ID3v1, which comes behind a stream
        start += OLD_TAG
    behind = content[start : start + PADDING]
    start += len(behind) - len(behind.lstrip(b"\0"))
    frame = _first_frame(content, start)
    return frame is not None and (frame > start or _tagged_size(content, start) is not None)


def _first_frame(content: mmap.mmap, start: int) -> int | None:
    """Return where an MP3 stream begins, behind its ID3v2 tag if it has one; None without one."""
    if content[start : start + 3] == b"ID3" and len(content) > start + 10:
        size = 0
        for byte in content[start + 6 : start + 10]:  # seven bits each
            size = size << 7 | byte & 0x7F
        start += 10 + size
    if len(content) < start + 4 or content[start] != 0xFF or content[start + 1] & 0xE0 != 0xE0:
        return None
    return start


def _tagged_size(content: mmap.mmap, start: int) -> int | None:
    """Return where an MP3 stream ends that begins at a place, by its tag; None without one."""
    frame = _first_frame(content, start)
    if frame is None:
        return None
    start = frame
    head = content[start : start + SEARCHED]
    at = min((place for tag in TAGS if (place := head.find(tag)) >= 0), default=-1)
    if at < 0 or len(head) < at + 16:
        return None
    flags = int.from_bytes(head[at + 4 : at + 8], "big")
    if not flags & HAS_BYTES:
        return None
    place = at + (12 if flags & HAS_FRAMES else 8)
    return start + int.from_bytes(head[place : place + 4], "big")
