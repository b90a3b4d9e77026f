"""Names in archives, and tables, that do not say in which code page they are: which one fits them.

Programs of Windows write text in the code page of their country and say nothing of it. Code pages
of several bytes a letter are tried in turn. Of the others, the one is taken whose letters are the
commonest of a language, for all names of an archive together.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# The syllables that most Korean words are made of; Chinese and Korean share the bytes, not these.
_COMMON_HANGUL = frozenset(
    "가각간갈감강개거건걸것게겨견경계고골공과관광교구국군그극근금기긴길김까꽃나난날남내너널네년노녹는니다단달담당대더덕도독돌동두드든들등"
    "디따때라락란람랑래량러레려력련로록료루류르른를름리린림마만말망매머먼메면명모목몰무문물미민밀바박반발밤방배백버번벌범벽변별병보복본봄부북"
    "분불비빙빨사산살삼상새색생서석선설성세소속손송쇠수술숲스슬시식신실심싸아악안알암앙애야약양어언얼업에여역연열영예오옥온와완왕외요용우운울"
    "원월위유육은을음의이인일임입잉자작잔장재저적전절점정제조족존종좋주죽준중쥐지직진질집짜차착찬참창채책처천철청체초촌총최추축출충치친칠카캐"
    "커컴코쿠크큰타탁탄태터테토통트특티파판팔패펌편평폐포표품풀풍프플피필하학한할함합항해행향허험현형호혼화환활황회효후훈흰희히힌"
)
_ENDS = re.compile(r'[/\\\\,;\t|"\r\n]')  # of a folder or a cell
_MARKS = frozenset("\u00a0–—‘’“”„…°№«»·´")
_LAST_COMMON_KANJI = 0x97  # first byte of the commoner half in code page 932
_SHOUTED = 0.9  # capitals alone are less likely than small letters
_TRIED_LINES = 10_000
_CERTAIN = 0.75  # likelihood of letters of one byte, which pairs of bytes may look like
_JAPANESE = {"HIRAGANA", "KATAKANA", "CJK"}


class _Script(NamedTuple):
    """letters: those of a language that are not ASCII, the commonest first. prior: how likely it is
    in this code page, compared with others. vowels: of which each text has one, if any is given.
    never_first: with which no word begins.
    """

    letters: str
    is_latin: bool = False
    prior: float = 1
    vowels: str = ""
    never_first: str = ""


_WESTERN = _Script("éäüöáóñíçøåàèêúâôãîõæëïùûßœÿýþð", is_latin=True)
_CENTRAL = _Script("áéíčšžřěýąęłóżśćźńöüőűůúťďňôľĺäâăîşţđ", is_latin=True, prior=0.8)
_TURKISH = _Script("ıişüğçöâî", is_latin=True)
_CYRILLIC = _Script("оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїєґў")
_OLD_CYRILLIC = _CYRILLIC._replace(prior=0.93)
_GREEK = _Script("αοιετσνηυρπκμλωθγδάίόήέύώςξχφβζψϊΐϋΰ")
_HEBREW = _Script("יוהלאתרמבשנעםדקחפטגצסזןכךףץ")
_ARABIC = _Script("ايلمنوتربعدسةكفقحهجشصطخذضزثءغىئأإظؤآ")
_THAI = _Script(
    "านรอกเงมยลวดทสต่ะปบัี้คหแิจพุชขใูไำ็โผฟฉธณศซฎญฐษึืถฝภฏฑฌฆฮฬฒ์",
    vowels="ะาิีึืุูเแโใไัำ",
    never_first="ะาิีึืุูัำ่้็์",
)
_SCRIPTS = {
    "cp437": _WESTERN,
    "cp850": _WESTERN,
    "cp1252": _WESTERN,
    "cp852": _CENTRAL,
    "cp1250": _CENTRAL,
    "cp857": _TURKISH,
    "cp1254": _TURKISH,
    "cp866": _CYRILLIC,
    "cp1251": _CYRILLIC,
    "koi8_r": _OLD_CYRILLIC,
    "cp737": _GREEK,
    "cp1253": _GREEK,
    "cp862": _HEBREW,
    "cp1255": _HEBREW,
    "cp1256": _ARABIC,
    "cp874": _THAI,
    "mac_roman": _WESTERN._replace(prior=0.85),
}
# Zip programs write DOS's code pages, editors and spreadsheets those of Windows.
_NAMES_FIRST = tuple(_SCRIPTS)
_TEXTS_FIRST = ("cp1252", *(name for name in _SCRIPTS if name != "cp1252"))


@dataclass(frozen=True)
class NameEncoding:
    """How the names of an archive are read.

    encoding: of names that do not say theirs. mixed: those of them that are UTF-8 are read as that.
    guessed: whether the encoding was guessed.
    """

    encoding: str
    mixed: bool = False
    guessed: bool = False

    def decode(self, raw: bytes) -> str:
        """A name as text; bytes that are none as surrogates."""
        if self.mixed and is_utf8(raw):
            return raw.decode("utf-8")
        return raw.decode(self.encoding, "surrogateescape")


def encoding_of_names(names: Sequence[bytes]) -> NameEncoding:
    """UTF-8 if all names are, or else the code page that fits them: all, or those that are not
    UTF-8. Code page 437, which the format of zip archives names, where none does."""
    others = [name for name in names if not is_utf8(name)]
    if not others:
        return NameEncoding("utf-8")
    if encoding := _fitting(names, _NAMES_FIRST):
        return NameEncoding(encoding, guessed=True)
    return NameEncoding(_fitting(others, _NAMES_FIRST) or "cp437", mixed=True, guessed=True)


def encoding_of_text(content: bytes) -> str | None:
    """The code page of a text that is not UTF-8; None where none fits."""
    return _fitting(content.splitlines()[:_TRIED_LINES], _TEXTS_FIRST)


def is_utf8(name: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _fitting(lines: Iterable[bytes], order: Sequence[str]) -> str | None:
    """The encoding that fits the lines; of single-byte ones the likeliest, in this order of equal
    ones."""
    raw = {line for line in lines if not line.isascii()}
    best, most = None, 0.0
    for number, (encoding, fits) in enumerate(_OF_SEVERAL_BYTES):
        texts = _parts(raw, encoding)
        if texts is not None and all(map(fits, texts)):
            if number < _UNMISTAKABLE:
                return encoding
            best, most = encoding, _CERTAIN
            break
    for encoding in order:
        texts = _parts(raw, encoding)
        if texts is None:
            continue
        likely = _likelihood(texts, _SCRIPTS[encoding])
        if likely > most:
            best, most = encoding, likely
    return best


def _parts(raw: Iterable[bytes], encoding: str) -> set[str] | None:
    """The parts of paths, or cells, that are not ASCII; None if they are not in the encoding."""
    try:
        texts = [line.decode(encoding) for line in raw]
    except UnicodeDecodeError:
        return None
    return {part for text in texts for part in _ENDS.split(text) if not part.isascii()}


def _likelihood(texts: Iterable[str], script: "_Script") -> float:
    """How common the letters are that are not ASCII, 0 to 1; 0 if one does not belong there."""
    ranks = {letter: rank for rank, letter in enumerate(script.letters)}
    found = []
    for text in texts:
        if not script.is_latin and not _stands_apart(text):
            return 0.0
        if script.vowels and not {*script.vowels} & {*text}:
            return 0.0
        if script.never_first and any(word[0] in script.never_first for word in text.split()):
            return 0.0
        if any(map(_has_stray_capital, re.findall(r"\w+", text))):
            return 0.0
        shouted = _SHOUTED if text.isupper() and len(text) > 1 else 1.0
        for character in _foreign(text):
            rank = ranks.get(character.lower())
            if rank is not None:
                found.append(shouted * (1 - rank / len(ranks)))
            elif character not in _MARKS:
                return 0.0
    return script.prior * sum(found) / len(found) if found else 0.0


def _has_stray_capital(word: str) -> bool:
    """Whether a capital follows a small letter, or one with an accent stands between another
    capital and a small letter."""
    return any(a.islower() and b.isupper() for a, b in zip(word, word[1:], strict=False)) or any(
        a.isupper() and b.isupper() and not b.isascii() and c.islower()
        for a, b, c in zip(word, word[1:], word[2:], strict=False)
    )


def _foreign(text: str) -> str:
    return "".join(character for character in text if not character.isascii())


def _stands_apart(text: str) -> bool:
    """Whether no ASCII letter touches what is not ASCII: letters with accents stand in words."""
    return not any(
        a.isascii() != b.isascii() and (a if a.isascii() else b).isalpha()
        for a, b in zip(text, text[1:], strict=False)
    )


def _is_japanese(most_rare: float) -> Callable[[str], bool]:
    """Whether all is Japanese, of which no more than this share is of the rarer characters."""

    def fits(text: str) -> bool:
        foreign = _foreign(text)
        kinds = {unicodedata.name(character, "").split(" ")[0] for character in foreign}
        rare = sum(character.encode("cp932")[0] > _LAST_COMMON_KANJI for character in foreign)
        return (
            _stands_apart(text)
            and kinds <= _JAPANESE | {"KATAKANA-HIRAGANA", "IDEOGRAPHIC", "FULLWIDTH"}
            and bool(kinds & _JAPANESE)
            and rare <= most_rare * len(foreign)
        )

    return fits


def _has_kana(text: str) -> bool:
    """Whether all is Japanese of which some is kana: Chinese code pages have these at the same
    bytes, and Chinese has none."""
    kinds = {unicodedata.name(character, "").split(" ")[0] for character in _foreign(text)}
    return (
        _stands_apart(text)
        and kinds <= _JAPANESE | {"KATAKANA-HIRAGANA"}
        and bool(kinds & {"HIRAGANA", "KATAKANA"})
    )


def _is_korean(text: str) -> bool:
    foreign = _foreign(text)
    common = sum(character in _COMMON_HANGUL for character in foreign)
    return all("가" <= character <= "힣" for character in foreign) and 2 * common > len(foreign)


def _is_chinese(encoding: str, leads: range, least_common: float) -> Callable[[str], bool]:
    """Whether all are characters of a Chinese code page, and this share of its common half, by the
    first byte of each."""

    def fits(text: str) -> bool:
        packed = [character.encode(encoding) for character in _foreign(text)]
        common = sum(each[0] in leads for each in packed)
        return (
            _stands_apart(text)
            and all(len(each) == 2 for each in packed)
            and common >= least_common * len(packed)
        )

    return fits


_COMMON_GBK, _COMMON_BIG5 = range(0xB0, 0xD8), range(0xA4, 0xC7)
_OF_SEVERAL_BYTES = (  # the last ones are taken for letters of one byte if those are common
    ("cp932", _is_japanese(0.5)),
    ("cp949", _is_korean),
    ("euc_jp", _has_kana),
    ("gbk", _is_chinese("gbk", _COMMON_GBK, 1)),
    ("big5", _is_chinese("big5", _COMMON_BIG5, 1)),
    ("gbk", _is_chinese("gbk", _COMMON_GBK, 0.5)),
    ("big5", _is_chinese("big5", _COMMON_BIG5, 0.5)),
    ("cp932", _is_japanese(1)),
)
_UNMISTAKABLE = 3
