"""Uploads that mean harm: the same ones at each call, made in memory.

`hostile_images` gives several hundred, by name. Some decode, most don't; none may cost more than its size is worth.
"""

import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.fakes import encoded

Named = Iterator[tuple[str, bytes]]

_PNG = b"\x89PNG\r\n\x1a\n"
_STARTS = (
    b"\xff\xd8\xff",
    _PNG,
    b"GIF89a",
    b"RIFF\xff\xff\xff\xffWEBP",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"BM",
    b"\0\0\0\x18ftypavif",
)
_FLIPS = 10
_SIZES = [(1, 1), (65_500, 1), (1, 65_500), (16_383, 3), (3, 16_383)]


def hostile_images() -> Named:
    """Every upload with its name."""
    yield from _no_images()
    for name, data in _seeds().items():
        yield f"{name}/whole", data
        yield from ((f"{name}/cut at {at}", data[:at]) for at in _cuts(name, data))
        yield from ((f"{name}/flipped {seed}", _flipped(data, seed)) for seed in range(_FLIPS))
        yield from _polyglots(name, data)
    yield from _shapes()
    yield from _claimed_sizes()
    yield from _pngs()
    yield from _thin_pngs()
    yield from _jpegs()
    yield from _long_jpegs()
    yield from _gifs()
    yield from _tiffs()
    yield from _striped_tiffs()
    yield from _bmps()
    yield from _webps()
    yield from _avifs()


def _seeds() -> dict[str, bytes]:
    pixels = np.random.default_rng(7).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    noise = Image.fromarray(pixels)
    alpha = noise.convert("RGBA")
    alpha.putalpha(noise.convert("L"))
    flat = Image.new("RGB", (56, 40), "teal")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 300
    frames = {"save_all": True, "append_images": [flat, noise], "duration": 40}
    return {
        "JPEG": encoded(noise, "JPEG", exif=exif, comment=b"c" * 90, icc_profile=b"i" * 400),
        "progressive JPEG": encoded(noise, "JPEG", progressive=True),
        "CMYK JPEG": encoded(noise.convert("CMYK"), "JPEG"),
        "MPO": encoded(noise, "MPO", save_all=True, append_images=[flat]),
        "PNG": encoded(alpha, "PNG", exif=exif),
        "palette PNG": encoded(noise.quantize(64), "PNG", transparency=3),
        "16-bit PNG": encoded(Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257), "PNG"),
        "APNG": encoded(noise, "PNG", **frames),
        "WebP": encoded(noise, "WEBP", exif=exif),
        "lossless WebP": encoded(alpha, "WEBP", lossless=True),
        "animated WebP": encoded(noise, "WEBP", **frames),
        "GIF": encoded(noise.quantize(64), "GIF", comment=b"c" * 300),
        "animated GIF": encoded(noise, "GIF", **frames),
        "TIFF": encoded(noise, "TIFF"),
        "LZW TIFF": encoded(alpha, "TIFF", compression="tiff_lzw"),
        "deflate TIFF": encoded(noise.convert("F"), "TIFF", compression="tiff_adobe_deflate"),
        "JPEG TIFF": encoded(noise, "TIFF", compression="jpeg"),
        "fax TIFF": encoded(noise.convert("1"), "TIFF", compression="group4"),
        "many-page TIFF": encoded(noise.copy(), "TIFF", save_all=True, append_images=[flat.copy()] * 2),
        "BMP": encoded(noise, "BMP"),
        "AVIF": encoded(noise, "AVIF", exif=exif),
        "AVIF with alpha": encoded(alpha, "AVIF"),
        "animated AVIF": encoded(noise, "AVIF", **frames),
        "palette BMP": encoded(noise.quantize(16), "BMP"),
    }


def _cuts(name: str, data: bytes) -> list[int]:
    """Behind every marker or chunk header, and at some other places."""
    places = {0, 1, 2, 4, 8, len(data) // 3, len(data) // 2, len(data) - 5, len(data) - 1}
    if "JPEG" in name or name == "MPO":
        places |= {at + 2 for at in range(len(data) - 1) if data[at] == 0xFF and data[at + 1] not in (0, 0xFF)}
    for kind in (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"):
        places |= {at + 4 for at in range(len(data)) if data.startswith(kind, at)}
    for kind in (b"VP8", b"ALPH", b"ANIM", b"ANMF", b"EXIF"):
        places |= {at + 8 for at in range(len(data)) if data.startswith(kind, at) and "WebP" in name}
    if "GIF" in name:
        places |= {at for at in range(len(data)) if data[at : at + 2] in (b"!\xf9", b"!\xff", b"!\xfe", b"\0,")}
    return sorted(places)


def _flipped(data: bytes, seed: int) -> bytes:
    """One to twelve bits are wrong, in the first part of the file more often."""
    chance = random.Random(seed)
    found = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        at = int(len(found) * chance.random() ** 2)
        found[at] ^= 1 << chance.randrange(8)
    return bytes(found)


def _polyglots(name: str, data: bytes) -> Named:
    html = b"<!doctype html><script>alert(1)</script>"
    yield f"{name}/with HTML behind it", data + html
    yield f"{name}/behind HTML", html + data
    yield f"{name}/with a ZIP behind it", data + b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18)


def _no_images() -> Named:
    yield "nothing", b""
    for size in (1, 2, 3, 7, 8, 9, 12, 26, 1024, 1_000_000):
        yield f"{size} zeros", bytes(size)
        yield f"{size} random bytes", random.Random(size).randbytes(size)
    starts = {
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "SVG of entities": b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>',
        "HTML": b"<html><body>hello</body></html>",
        "JSON": b'{"image": true}',
        "PDF": b"%PDF-1.7\n1 0 obj\n",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\n",
        "ZIP": b"PK\x03\x04" + bytes(60),
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(60),
        "gzip": b"\x1f\x8b\x08" + bytes(60),
        "MP4": b"\0\0\0\x18ftypmp42" + bytes(60),
        "HEIC": b"\0\0\0\x18ftypheic" + bytes(60),
        "AVIF": b"\0\0\0\x18ftypavif" + bytes(60),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
        "JPEG XL": b"\xff\x0a" + bytes(60),
        "Photoshop": b"8BPS\0\1" + bytes(60),
        "icon": b"\0\0\1\0\1\0" + bytes(60),
        "PPM": b"P6 99999 99999 255\n",
        "XBM": b"#define x_width 99999\n#define x_height 99999\n",
        "Windows metafile": b"\xd7\xcd\xc6\x9a" + bytes(60),
        "DDS": b"DDS \x7c" + bytes(120),
    }
    yield from starts.items()
    for size in (2, 3, 4, 6, 8, 10, 12, 13, 14, 16, 20, 26, 54):
        for start in _STARTS[:-1]:  # all but AVIF
            yield f"{start[:4]!r} and {size} bytes", start + b"\xff" * size


def _shapes() -> Named:
    for file_format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        for size in _SIZES:
            if file_format != "WEBP" or max(size) < 16_384:
                yield f"{file_format} of {size[0]} × {size[1]}", encoded(Image.new("RGB", size, "red"), file_format)


def _claimed_sizes() -> Named:
    """Files of some bytes that claim a size and have no pixels."""
    most = 2**31 - 1
    for width, height in [(20_000, 20_000), (65_535, 65_535), (7000, 7000), (0, 0), (0, 5), (5, 0), (most, most)]:
        size = f"{width} × {height}"
        yield f"PNG claims {size}", png(width, height, b"")
        yield f"PNG in RGBA claims {size}", png(width, height, b"", colour=6)
        yield f"BMP claims {size}", _bmp(width & 0x7FFFFFFF, height & 0x7FFFFFFF, 24, 0, b"")
        yield f"TIFF claims {size}", _tiff({256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 279: 9})
        small = (width & 0xFFFF, height & 0xFFFF)
        yield f"GIF claims {size}", b"GIF89a" + struct.pack("<HHBBB", *small, 0, 0, 0) + b",\0\0\0\0" + bytes(9)
        yield f"JPEG claims {size}", _jpeg_header(*small) + b"\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9"
        yield f"WebP claims {size}", _vp8x(min(width, 2**24 - 1), min(height, 2**24 - 1))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk, checksum and all."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, rows: bytes, *before: bytes, colour: int = 2, bits: int = 8, interlaced: int = 0
) -> bytes:
    """A PNG of `rows`, each behind its filter byte, with further chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    pixels = zlib.compress(rows, 1)
    return _PNG + header + b"".join(before) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _pngs() -> Named:
    row = bytes(1 + 3 * 8)
    bomb = zlib.compress(bytes(50_000_000), 1)
    yield "PNG with 50 MB of deflated text", png(8, 8, row * 8, chunk(b"zTXt", b"k\0\0" + bomb))
    yield "PNG with 50 MB of international text", png(8, 8, row * 8, chunk(b"iTXt", b"k\0\1\0\0\0" + bomb))
    yield "PNG with a profile of 50 MB", png(8, 8, row * 8, chunk(b"iCCP", b"k\0\0" + bomb))
    text = zlib.compress(bytes(1_000_000), 9)
    texts = [chunk(b"zTXt", b"k%d\0\0" % number + text) for number in range(200)]
    yield "PNG with 200 texts of 1 MB", png(8, 8, row * 8, *texts)
    yield "PNG with plain text of 5 MB", png(8, 8, row * 8, chunk(b"tEXt", b"k\0" + b"t" * 5_000_000))
    yield "PNG with pixels for 2,000,000 rows", png(8, 8, row * 2_000_000)
    yield "PNG with too few pixels", png(800, 800, row)
    yield "PNG with a wrong filter", png(8, 8, (b"\x09" + row[1:]) * 8)
    yield "PNG of 1,000,000 empty chunks", png(8, 8, row * 8, chunk(b"abCd", b"") * 1_000_000)
    yield "PNG whose pixels come in 300,000 pieces", _PNG + png(8, 8, b"")[8:33] + chunk(b"IDAT", b"") * 300_000
    yield "PNG with EXIF of 4 MB", png(8, 8, row * 8, chunk(b"eXIf", _overlapping_exif(4_000_000)))
    for colour in range(8):
        for bits in (1, 2, 4, 8, 16, 32):
            yield f"PNG of colour type {colour} with {bits} bits", png(8, 8, bytes(600), colour=colour, bits=bits)
    yield "PNG of 100,000 frames", _apng(100_000)
    yield "interlaced PNG of 26 megapixels", png(6500, 4000, bytes(16_000_000), colour=0, bits=1, interlaced=1)
    # Near the default limit of memory, and above it.
    yield "PNG of 33 megapixels in RGB", png(8192, 4000, bytes(1 + 3 * 8192) * 4000)
    yield "PNG of 16 megapixels in RGBA", png(4000, 4000, bytes(1 + 4 * 4000) * 4000, colour=6)
    yield "PNG of 49 megapixels in RGBA", png(7000, 7000, b"", colour=6)
    yield "PNG of 49 megapixels in 16-bit RGBA", png(7000, 7000, b"", colour=6, bits=16)
    yield "PNG of 22 megapixels in 16 bits", png(5500, 4000, bytes(1 + 2 * 5500) * 4000, colour=0, bits=16)
    yield "PNG of 26 megapixels in 1 bit", png(6400, 4100, bytes(801) * 4100, colour=0, bits=1)


def _thin_pngs() -> Named:
    """A row takes a pointer, and some work, however narrow it is."""
    yield "PNG of 1 pixel by 25,000,000", png(1, 25_000_000, b"", colour=0)
    yield "PNG of 25,000,000 pixels by 1", png(25_000_000, 1, bytes(3 * 25_000_000 + 1))
    yield "PNG of 1 × 9,000,000 in 1 bit", png(1, 9_000_000, bytes(2 * 9_000_000), colour=0, bits=1)
    yield "interlaced PNG of 2 × 9,000,000", png(2, 9_000_000, bytes(40_000_000), colour=0, interlaced=1)


def _apng(frames: int) -> bytes:
    def control(number: int) -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 8, 8, 0, 0, 1, 10, 0, 0))

    pixels = zlib.compress(bytes(1 + 3 * 8) * 8)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) + chunk(
        b"acTL", struct.pack(">II", frames, 0)
    )
    rest = b"".join(
        control(2 * number - 1) + chunk(b"fdAT", struct.pack(">I", 2 * number) + pixels) for number in range(1, frames)
    )
    return _PNG + header + control(0) + chunk(b"IDAT", pixels) + rest + chunk(b"IEND", b"")


def _overlapping_exif(size: int) -> bytes:
    """Tags that all have the same bytes, nearly everything: read one by one, gigabytes."""
    count = min(65_535, size // 24)
    entries = b"".join(struct.pack(">HHII", tag, 7, size - 16, 8) for tag in range(count))
    return (b"MM\0*\0\0\0\x08" + struct.pack(">H", count) + entries).ljust(size, b"\0")


def _big_tags(count: int) -> bytes:
    """A BigTIFF of nothing but tags."""
    tags = b"".join(struct.pack(">HHQQ", tag & 0xFFFF, 7, 8, tag) for tag in range(count))
    return b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, count) + tags


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _jpeg_header(width: int, height: int) -> bytes:
    return b"\xff\xd8" + _segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")


def _jpegs() -> Named:
    small = encoded(Image.new("RGB", (64, 64), "red"), "JPEG", progressive=True)
    for name, marker, content in (
        ("EXIF", 0xE1, b"Exif\0\0" + _overlapping_exif(65_000)),
        ("profile", 0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000)),
        ("XMP", 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<tiff:Orientation>" * 3000),
        ("comment", 0xFE, b"c" * 65_000),
        ("Photoshop block", 0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\0\0\0\0" * 4000),
        ("MPF", 0xE2, b"MPF\0" + _overlapping_exif(60_000)),
    ):
        for copies in (1, 60):
            yield f"JPEG with {copies} × {name}", small[:2] + _segment(marker, content) * copies + small[2:]
    yield "JPEG of 1,000,000 empty segments", small[:2] + _segment(0xE9, b"") * 1_000_000 + small[2:]
    yield "JPEG of 4,000,000 fill bytes", small[:2] + b"\xff" * 4_000_000 + small[2:]
    big_exif = _big_tags(60_000)
    pieces = [big_exif[at : at + 65_000] for at in range(0, len(big_exif), 65_000)]
    tags = b"".join(_segment(0xE1, b"Exif\0\0" + piece) for piece in pieces)
    yield "JPEG with EXIF of 60,000 tags", small[:2] + tags + small[2:]
    yield "JPEG that has only tables", small[: small.index(b"\xff\xda")] * 200
    for marker in range(0xC0, 0xD0):
        yield f"JPEG with the frame {marker:X}", small.replace(b"\xff\xc2", bytes((0xFF, marker)), 1)
    large = encoded(Image.new("RGB", (7900, 5500), "red"), "JPEG", progressive=True, quality=20)
    yield "progressive JPEG of 43 megapixels", large
    yield "progressive JPEG of 20 scans of 43 megapixels", _with_scans(large, 10)
    yield "progressive JPEG of 5,000 scans of 43 megapixels", _with_scans(large, 4990)
    yield "progressive JPEG of 20,000 scans", _with_scans(small, 20_000)
    yield "JPEG of 49 megapixels", encoded(Image.new("RGB", (7000, 7000), "red"), "JPEG", quality=20)
    for mode, subsampling in (("CMYK", 0), ("RGB", 0)):
        tiny = encoded(Image.new(mode, (64, 64), "red"), "JPEG", progressive=True, subsampling=subsampling)
        side = tiny.index(b"\xff\xc2") + 5
        claimed = tiny[:side] + struct.pack(">HH", 7000, 7000) + tiny[side + 4 :]
        yield f"progressive {mode} JPEG that claims 49 megapixels", claimed


def _with_scans(jpeg: bytes, more: int) -> bytes:
    """Its last scan, a refinement with nothing in it to speak of, again and again."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * more + jpeg[-2:]


def jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive grey JPEG of a few bytes a scan, each going over all of its pixels; hidden in segments that
    libjpeg looks for scans in, as it has lost its place.
    """

    def scan(first: int, last: int) -> bytes:
        return b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes((1, 0, first, last, 0)) + b"\0"

    tables = b"".join(_segment(0xC4, bytes((kind, 1)) + bytes(15) + b"\0") for kind in (0x00, 0x10))
    frame = _segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    header = b"\xff\xd8" + _segment(0xDB, b"\0" + b"\1" * 64) + frame + tables + _segment(0xDD, b"\0\1")
    hidden = b"".join(
        b"\xff\x02" + struct.pack(">H", 2 + len(scan(1, 63)) * count) + scan(1, 63) * count
        for count in [5000] * (scans // 5000) + [scans % 5000]
        if count
    )
    return header + scan(0, 0) + hidden + b"\xff\xd9"


def _long_jpegs() -> Named:
    for scans in (20, 200, 5000):
        yield f"JPEG of {scans:,} hidden scans of 41 megapixels", jpeg_of_scans(6400, 6400, scans)
    yield "JPEG of 5,000 hidden scans of 1 megapixel", jpeg_of_scans(1000, 1000, 5000)
    small = encoded(Image.new("RGB", (64, 64), "red"), "JPEG", restart_marker_blocks=1)
    tail = small.rindex(b"\xff\xd9")
    yield "JPEG of 4,000,000 comments behind its pixels", small[:tail] + b"\xff\xfe\0\2" * 4_000_000 + small[tail:]
    yield "JPEG of 9,000,000 restarts", small[:tail] + b"\xff\xd0" * 9_000_000 + small[tail:]
    yield "JPEG of 5,000,000 stuffed bytes", small[:tail] + b"\xff\0" * 5_000_000 + small[tail:]
    number_of_lines = _segment(0xDC, struct.pack(">H", 60_000))
    yield "JPEG with the lines behind its pixels", small[:tail] + number_of_lines + small[tail:]
    frame = small.index(b"\xff\xc0") + 5
    yield "JPEG without lines", small[:frame] + b"\0\0" + small[frame + 2 : tail] + number_of_lines + small[tail:]
    tables = _segment(0xC4, b"\0" + bytes(16)) * 300_000
    yield "JPEG of 300,000 empty tables", small[:2] + tables + small[2:]
    yield "JPEG of 60,000 pictures", small * 10_000
    thumbnail = _segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\x0e" + small)
    yield "JPEG with a JPEG in its EXIF, again and again", small[:2] + thumbnail * 5000 + small[2:]


def _gifs() -> Named:
    one = encoded(Image.new("P", (8, 8)), "GIF")
    start, frame = one[: one.index(b",")], one[one.index(b",") : -1]
    yield "GIF of 100,000 frames", start + frame * 100_000 + b";"
    yield "GIF of 1,000,000 empty comments", start + b"!\xfe\0" * 1_000_000 + frame + b";"
    yield "GIF with a comment of 5 MB", start + b"!\xfe" + (b"\xff" + b"c" * 255) * 20_000 + b"\0" + frame + b";"
    yield "GIF of 4,000,000 bytes of nothing", start + bytes(4_000_000) + frame + b";"
    larger, outside = struct.pack("<4H", 0, 0, 65_535, 65_535), struct.pack("<4H", 60_000, 60_000, 8, 8)
    yield "GIF whose frame is larger than its screen", start + b"," + larger + frame[9:] + b";"
    disposed, large = b"!\xf9\x04\x08\0\0\0\0", struct.pack("<4H", 0, 0, 20_000, 20_000)
    yield "GIF whose frame of 400 megapixels is disposed of", start + disposed + b"," + large + frame[9:] + b";"
    yield "GIF whose frame lies outside", start + b"," + outside + frame[9:] + b";"
    yield "GIF of 26 megapixels", encoded(Image.new("P", (6500, 4000)), "GIF")
    yield "GIF of 49 megapixels", encoded(Image.new("P", (7000, 7000)), "GIF")


def _tiff(tags: dict[int, int], data: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF: `data` at 8, then the directory of LONGs."""
    data += b"\0" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def _tiffs() -> Named:
    grey = {256: 8, 257: 8, 258: 8, 262: 1, 277: 1, 278: 8, 273: 8}
    bomb = zlib.compress(bytes(100_000_000), 1)
    yield "TIFF whose deflated strip is 100 MB", _tiff(grey | {259: 8, 279: len(bomb)}, bomb)
    yield "TIFF whose next page is itself", _tiff(grey | {259: 1, 279: 64}, bytes(64), following=72)
    yield "TIFF whose directory lies beyond its end", b"II*\0\xff\xff\xff\x7f" + bytes(64)
    yield "TIFF with overlapping tags", _overlapping_exif(3_000_000)
    yield "TIFF of 60,000 tags", _big_tags(60_000)
    for side in (30_000, 65_520, 2**31 - 16):
        tiled = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: len(bomb)}
        yield f"TIFF with a tile of {side:,} pixels a side", _tiff(tiled, bomb)
    for compression in (*range(11), 32_771, 32_773, 32_809, 32_946, 34_676, 34_887, 34_925, 50_000, 50_001, 65_535):
        yield f"TIFF in the compression {compression}", _tiff(grey | {259: compression, 279: 64}, bytes(64))
    for bits in (0, 1, 7, 12, 16, 31, 32, 64, 65_535, 2**31):
        yield f"TIFF with {bits} bits a sample", _tiff(grey | {258: bits, 259: 1, 279: 64}, bytes(600))
    for samples in (0, 2, 3, 4, 5, 65_535, 2**31):
        yield f"TIFF with {samples} samples a pixel", _tiff(grey | {277: samples, 259: 1, 279: 64}, bytes(600))
    pages = [Image.new("1", (8, 8))] * 200
    yield "TIFF of 201 pages", encoded(pages[0], "TIFF", save_all=True, append_images=pages)
    scans = encoded(Image.new("RGB", (3000, 3000), "red"), "JPEG", progressive=True, quality=20)
    bombed = _with_scans(scans, 3000)
    jpeg_tags = {256: 3000, 257: 3000, 258: 8, 259: 7, 262: 6, 273: 8, 277: 3, 278: 3000, 279: len(bombed)}
    yield "TIFF with a JPEG of 3,000 scans", _tiff(jpeg_tags, bombed)
    for mode in ("RGBA", "F"):
        picture = Image.new(mode, (4000, 4000))
        yield f"TIFF of 16 megapixels in {mode}", encoded(picture, "TIFF", compression="tiff_lzw")


def _strips(width: int, height: int, compression: int, strip: bytes, kind: int = 4) -> bytes:
    """A TIFF of one row a strip, all strips the same bytes; the places are LONGs, or SHORTs of `kind` 3."""
    places, begin = "H" if kind == 3 else "I", 8 + len(strip) + len(strip) % 2
    table = struct.pack(f"<{height}{places}", *[8] * height)
    counts = struct.pack(f"<{height}{places}", *[len(strip)] * height)
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1, 278: 1}
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()}
    entries[273] = struct.pack("<HHII", 273, kind, height, begin)
    entries[279] = struct.pack("<HHII", 279, kind, height, begin + len(table))
    body = strip + b"\0" * (len(strip) % 2) + table + counts
    directory = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


def _striped_tiffs() -> Named:
    for name, compression, strip in (
        ("raw", 1, b"\0"),
        ("deflated", 8, zlib.compress(b"\0")),
        ("packed", 32_773, b"\0\0"),
    ):
        yield f"TIFF of 200,000 {name} strips", _strips(1, 200_000, compression, strip)
        yield f"TIFF of 2,000,000 {name} strips", _strips(1, 2_000_000, compression, strip)
    yield "TIFF of 4,000,000 raw strips in shorts", _strips(1, 4_000_000, 1, b"\0", kind=3)
    tile = zlib.compress(bytes(100_000_000), 1)
    both = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(tile)}
    for side in (10_000, 46_000):
        tags = both | {322: side, 323: side, 324: 8, 325: len(tile)}
        yield f"TIFF with strips and a tile of {side:,} pixels a side", _tiff(tags, tile)


def _bmp(width: int, height: int, bits: int, compression: int, data: bytes) -> bytes:
    palette = bytes(4 << bits) if bits <= 8 else b""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    return (
        b"BM" + struct.pack("<IHHI", 54 + len(palette) + len(data), 0, 0, 54 + len(palette)) + header + palette + data
    )


def _bmps() -> Named:
    yield "BMP of 1 MB run-length encoded singles", _bmp(1400, 1400, 8, 1, b"\1\7" * 490_000)
    yield "BMP of 10 MB run-length encoded singles", _bmp(1400, 1400, 8, 1, b"\1\7" * 5_000_000)
    yield "BMP of long runs", _bmp(1400, 1400, 8, 1, b"\xff\7" * 9_000 + b"\0\1")
    for side in (1400, 4300):
        yield f"BMP of {side} rows that end at once", _bmp(side, side, 8, 1, b"\1\7\0\0" * side)
    yield "BMP that skips all", _bmp(1400, 1400, 8, 1, b"\0\2\xff\xff" * 100_000 + b"\0\1")
    for bits in (0, 1, 2, 4, 8, 16, 24, 32, 64):
        for compression in (0, 1, 2, 3, 4, 5, 6, 99):
            yield f"BMP with {bits} bits in the compression {compression}", _bmp(8, 8, bits, compression, bytes(600))
    yield "BMP of negative height", _bmp(8, -8, 24, 0, bytes(600))
    yield "BMP of negative width", _bmp(-8, 8, 24, 0, bytes(600))
    yield "BMP of 26 megapixels in 1 bit", encoded(Image.new("1", (6500, 4000)), "BMP")


def _riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _vp8x(width: int, height: int, flags: int = 2) -> bytes:
    sizes = struct.pack("<I", max(width - 1, 0))[:3] + struct.pack("<I", max(height - 1, 0))[:3]
    frame = _webp_chunk(b"ANMF", bytes(16) + _webp_chunk(b"VP8L", b"\x2f" + bytes(20)))
    return _riff(_webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sizes), _webp_chunk(b"ANIM", bytes(6)), frame)


def _webps() -> Named:
    still = encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True)
    frame = _webp_chunk(b"ANMF", bytes(6) + b"\7\0\0\7\0\0" + bytes(4) + still[12:])
    header = _webp_chunk(b"VP8X", b"\2\0\0\0\7\0\0\7\0\0") + _webp_chunk(b"ANIM", bytes(6))
    yield "WebP of 100,000 frames", _riff(header, frame * 100_000)
    with_exif = _webp_chunk(b"VP8X", b"\x08\0\0\0\7\0\0\7\0\0")
    yield "WebP with EXIF of 4 MB", _riff(with_exif, still[12:], _webp_chunk(b"EXIF", _overlapping_exif(4_000_000)))
    yield "WebP of 100,000 unknown chunks", _riff(header, _webp_chunk(b"ABCD", b"") * 100_000, still[12:])
    for alpha, mode in ((False, "RGB"), (True, "RGBA")):
        for width, height in ((3600, 2300), (3700, 2300)):
            picture = Image.new(mode, (width, height), "red")
            name = f"WebP of {width * height:,} pixels in {mode}"
            yield name, encoded(picture, "WEBP", lossless=alpha, quality=1, method=0)


def _avifs() -> Named:
    """Files whose header claims another size than that of the picture in them."""
    small = encoded(Image.new("RGB", (64, 48)), "AVIF")
    large = encoded(Image.new("L", (4000, 3000)), "AVIF", speed=10, subsampling="4:0:0")
    for name, data, sizes in (
        ("AVIF", small, [(12_000, 12_000), (7000, 7000), (0, 0), (1, 1), (2**32 - 1, 2**32 - 1)]),
        ("AVIF of 12 megapixels", large, [(1, 1), (64, 48), (2800, 2900)]),
    ):
        at = data.index(b"ispe") + 8
        for width, height in sizes:
            claim = struct.pack(">II", width, height)
            yield f"{name} claims {width} × {height}", data[:at] + claim + data[at + 8 :]
