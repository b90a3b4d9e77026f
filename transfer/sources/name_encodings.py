"""File names of archives that do not say in which code page they are: which one fits them.

Programs of Windows write names in the code page of their country and say nothing of it. What people
write is tried in turn, for all names of an archive together; the last resort is code page 437,
which is what the format of zip archives says.
"""

import unicodedata
from collections.abc import Callable, Iterable

# The syllables that most Korean words are made of; Chinese and Korean share the bytes, not these.
_COMMON_HANGUL = frozenset(
    "가각간갈감강개거건걸것게겨견경계고골공과관광교구국군그극근금기긴길김까꽃나난날남내너널네년노녹는니다단달담당대더덕도독돌동두드든들등"
    "디따때라락란람랑래량러레려력련로록료루류르른를름리린림마만말망매머먼메면명모목몰무문물미민밀바박반발밤방배백버번벌범벽변별병보복본봄부북"
    "분불비빙빨사산살삼상새색생서석선설성세소속손송쇠수술숲스슬시식신실심싸아악안알암앙애야약양어언얼업에여역연열영예오옥온와완왕외요용우운울"
    "원월위유육은을음의이인일임입잉자작잔장재저적전절점정제조족존종좋주죽준중쥐지직진질집짜차착찬참창채책처천철청체초촌총최추축출충치친칠카캐"
    "커컴코쿠크큰타탁탄태터테토통트특티파판팔패펌편평폐포표품풀풍프플피필하학한할함합항해행향허험현형호혼화환활황회효후훈흰희히힌"
)


def guess_encoding(names: Iterable[bytes]) -> str:
    """The code page of names that are not UTF-8: the first of those below that fits all of them, or
    cp437."""
    parts = {part for name in names for part in name.split(b"/") if not part.isascii()}
    for encoding, fits in _CANDIDATES:
        try:
            texts = [part.decode(encoding) for part in parts]
        except UnicodeDecodeError:
            continue
        if all(map(fits, texts)):
            return encoding
    return "cp437"


def _foreign(text: str) -> str:
    return "".join(character for character in text if not character.isascii())


def _stands_apart(text: str) -> bool:
    """Whether no ASCII letter touches what is not ASCII: letters with accents stand in words."""
    return not any(
        a.isascii() != b.isascii() and (a if a.isascii() else b).isalpha()
        for a, b in zip(text, text[1:], strict=False)
    )


def _is_japanese(text: str) -> bool:
    kinds = [unicodedata.name(character, "").split(" ")[0] for character in _foreign(text)]
    return (
        _stands_apart(text)
        and all(
            kind in ("HIRAGANA", "KATAKANA", "CJK", "KATAKANA-HIRAGANA", "IDEOGRAPHIC", "FULLWIDTH")
            for kind in kinds
        )
        and any(kind in ("HIRAGANA", "KATAKANA", "CJK") for kind in kinds)
    )


def _is_korean(text: str) -> bool:
    foreign = _foreign(text)
    common = sum(character in _COMMON_HANGUL for character in foreign)
    return all("가" <= character <= "힣" for character in foreign) and 2 * common > len(foreign)


def _is_chinese(encoding: str, leads: range) -> Callable[[str], bool]:
    """Whether all is of the common half of a Chinese code page, by the first byte of each."""

    def fits(text: str) -> bool:
        return _stands_apart(text) and all(
            (packed := character.encode(encoding))[0] in leads and len(packed) == 2
            for character in _foreign(text)
        )

    return fits


def _is_russian(text: str) -> bool:
    """Cyrillic letters in words: single ones among others are accents of another code page."""
    foreign = _foreign(text)
    return all("CYRILLIC" in unicodedata.name(c, "") for c in foreign) and _stands_apart(text)


def _is_latin(text: str) -> bool:
    """Latin letters with accents, and no capital one behind a small letter."""
    return all("LATIN" in unicodedata.name(c, "") for c in _foreign(text)) and not any(
        a.islower() and b.isupper() and not b.isascii()
        for a, b in zip(text, text[1:], strict=False)
    )


_CANDIDATES = (
    ("cp932", _is_japanese),
    ("cp866", _is_russian),
    ("cp949", _is_korean),
    ("gbk", _is_chinese("gbk", range(0xB0, 0xD8))),
    ("big5", _is_chinese("big5", range(0xA4, 0xC7))),
    ("cp1251", _is_russian),
    ("cp437", _is_latin),
    ("cp850", _is_latin),
    ("cp1252", _is_latin),
)
