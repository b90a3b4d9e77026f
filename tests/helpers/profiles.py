"""Colour profiles (ICC) made by hand: grey and RGB with given primaries and gamma."""

import struct

# XYZ of red, green and blue under D50
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
_WHITE = (0.9642, 1.0, 0.8249)


def profile(primaries: tuple | None, gamma: float) -> bytes:
    """An ICC profile of version 2; of grey where there are no primaries."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)
    tags = {b"desc": _description(b"made by hand"), b"wtpt": _xyz(_WHITE)}
    if primaries is None:
        tags[b"kTRC"] = curve
    else:
        for name, colour in zip("rgb", primaries, strict=True):
            tags[f"{name}XYZ".encode()] = _xyz(colour)
            tags[f"{name}TRC".encode()] = curve
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    space = b"GRAY" if primaries is None else b"RGB "
    header = struct.pack(">IIIIII", size, 0, 0x02100000, int.from_bytes(b"mntr", "big"), 0, 0)
    header = header[:16] + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *(round(value * 65536) for value in _WHITE))
    return header.ljust(128, b"\0") + table + body


def _xyz(colour: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in colour))


def _description(text: bytes) -> bytes:
    return (
        b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)
    )
