"""The fonts of pictures: the one that comes with Matplotlib, and behind it those of the extra
`fonts`, for scripts that it lacks.

Fonts of the machine are not used, so that a picture is the same bytes wherever the same extra is
installed.
"""

import importlib.util
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import FontEntry, fontManager
from matplotlib.ft2font import FT2Font

_OWN = "DejaVu Sans"
_EXTRA = {  # module of requirements/fonts.txt -> its file
    "notojp_matplotlib": "fonts/NotoSansCJKjp-Regular.otf",
    "fontpkg_hind_siliguri": "files/HindSiliguri-Regular.ttf",
    "fontpkg_noto_sans_devanagari": "files/NotoSansDevanagari[wdth,wght].ttf",
    "fontpkg_noto_sans_khmer": "files/NotoSansKhmer[wdth,wght].ttf",
    "fontpkg_noto_sans_tamil": "files/NotoSansTamil[wdth,wght].ttf",
    "fontpkg_noto_sans_telugu": "files/NotoSansTelugu[wdth,wght].ttf",
    "fontpkg_noto_sans_thai": "files/NotoSansThai[wdth,wght].ttf",
}


@cache
def families() -> list[str]:
    """Names for Matplotlib's `fontfamily`, the first that has a character draws it."""
    for module, path in _installed().items():
        # a name that no font of the machine has, or Matplotlib might take that one
        fontManager.ttflist.append(
            FontEntry(fname=str(path), name=_family(module), size="scalable")
        )
    return [_OWN, *map(_family, _installed())]


def can_draw(text: str) -> bool:
    """Whether the fonts have every character of the text, as NFC."""
    return all(
        any(font.get_char_index(ord(character)) for font in _fonts())
        for character in unicodedata.normalize("NFC", text)
    )


def has_all_fonts() -> bool:
    """Whether the extra `fonts` is installed."""
    return len(_installed()) == len(_EXTRA)


@cache
def _installed() -> dict[str, Path]:
    # found and not imported, since one of these packages changes Matplotlib's settings
    found = {module: importlib.util.find_spec(module) for module in _EXTRA}
    return {
        module: Path(spec.submodule_search_locations[0], _EXTRA[module])
        for module, spec in found.items()
        if spec is not None
    }


@cache
def _fonts() -> list[FT2Font]:
    own = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    return [FT2Font(str(path)) for path in (own, *_installed().values())]


def _family(module: str) -> str:
    return f"extra {module}"
