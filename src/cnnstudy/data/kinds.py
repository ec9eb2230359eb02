"""Kinds of files that are not images, or not supported ones, recognised by their first bytes."""

import re
import zlib

PNG = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG without information on pixels.
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
# HEIF's brands, without AVIF's.
HEIC = re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL)
VIDEO = re.compile(rb"....ftyp(?!avi[fs])|\x1aE\xdf\xa3|RIFF....AVI ", re.DOTALL)
NIFTI_SIZES = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS; `git lfs pull` fetches the image"),
    (b"%PDF", "a PDF file; `pdfimages -png` extracts its images"),
    (b"PK\x03\x04", "a ZIP file; unpack it"),
    (b"Rar!", "a RAR file; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file; unpack it"),
    (b"<svg", "an SVG drawing; save it as PNG"),
    (b"8BPS", "a Photoshop file; save it as PNG"),
    (b"\x93NUMPY", "a NumPy array; save it as PNG"),
    (b"\x89HDF", "an HDF5 file; save its images as PNG"),
    (b"NRRD", "an NRRD volume; save its slices as PNG"),
    (b"ObjectType = Image", "a MetaImage volume; save its slices as PNG"),
)  # fmt: skip
ANNEX = re.compile(rb"(\.\./)*(/?\.git)?/annex/objects/")
NIFTI = "a NIfTI volume; save its slices as PNG, such as with `med2image -i FILE -o slice.png`"


class UnreadableError(Exception):
    """A file that can't be used as an image; the message is the reason, in a few words."""


def kind_of(content: bytes) -> str:
    """Return the kind of a file that Pillow can't read, with advice; '' if the kind is unknown."""
    for beginning, kind in BEGINNINGS:
        if content.startswith(beginning):
            return kind
    if ANNEX.match(content):
        return "a pointer of git-annex; `git annex get` fetches the image"
    if HEIC.match(content):
        return "a HEIC image; convert it to JPEG, such as with `heif-convert FILE image.jpg`"
    if content.startswith(NIFTI_SIZES) or _unzipped(content).startswith(NIFTI_SIZES):
        return NIFTI
    if content.startswith(b"\x1f\x8b"):
        return "a gzip file; unpack it"
    return "a video; save its frames as images" if VIDEO.match(content) else ""


def _unzipped(content: bytes) -> bytes:
    """Return the first bytes of a gzip file's content; b'' for any other file."""
    if not content.startswith(b"\x1f\x8b"):
        return b""
    try:
        return zlib.decompressobj(wbits=31).decompress(content[:4096], 16)
    except zlib.error:
        return b""


def without_texts(content: bytes) -> bytes:
    """Return a PNG without its text chunks and colour profile; any other content unchanged."""
    if not content.startswith(PNG):
        return content
    kept, at = [PNG], len(PNG)
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in TEXTS:
            kept.append(content[at:end])
        at = end
    return b"".join(kept)
