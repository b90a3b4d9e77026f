"""Which words the names of folders have: those of splits, of parts of one set, of pictures and
masks, or of pictures without labels."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import lru_cache

SPLITS = ("train", "validation", "test")


def _plain(text: str) -> str:
    """In lower case without accents, in one Unicode form."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in text if not unicodedata.combining(c))


def _table(names: str) -> frozenset[str]:
    return frozenset(_plain(names).split())


# What people call splits. A name is one if nothing but these and words without meaning are in it.
_SPLIT_NAMES = {
    "train": _table(
        "train training trainings trainset traindata trainingset trainval trn tr learning "
        "entrenamiento entrainement apprentissage treino treinamento addestramento allenamento "
        "entrenar entrainer treinar trainieren trening treningowy treningowe trenovaci traning "
        "opetus egitim latih pelatihan "
        "обучение обучающая обучающие тренировка тренировочная тренировочные навчання "
        "εκπαίδευση תדריב אימון تدريب التدريب آموزش "
        "训练 訓練 学習 トレーニング 학습 훈련"
    ),
    "validation": _table(
        "validation val valid va validate validating validationset valset valdata dev devset "
        "development eval validar valider validieren evaluation evalset validierung validierungs "
        "validacion validacao validazione convalida "
        "validatie walidacja walidacyjny walidacyjne validacni validering validointi dogrulama "
        "validasi валидация валидационная валидационные проверка проверочная валідація "
        "επικύρωση ולידציה التحقق تحقق "
        "验证 驗證 検証 バリデーション 검증"
    ),
    "test": _table(
        "test testing testset testdata testingset tst te holdout prueba pruebas teste testes prova "
        "probar tester testar testen testowy testowe testovaci testi uji pengujian "
        "тест тестовая тестовые тестирование тестування "
        "δοκιμή מבחן اختبار الاختبار "
        "测试 測試 評価 テスト 테스트 평가"
    ),
}
_SPLIT_WORDS = {word: split for split, words in _SPLIT_NAMES.items() for word in words}
_LONGEST_FIRST = sorted(_SPLIT_WORDS, key=lambda word: (-len(word), word))
_EMPTY_WORDS = _table(
    "set sets data dataset datasets image images img imgs picture pictures photo photos seg split "
    "folder dir sample samples crops full the daten satz datos donnees dati dados выборка набор "
    "данные 集 数据 數據 数据集 數據集 資料 資料集 图片 圖片 用 データ 用データ 画像 セット "
    "데이터 데이터셋 세트"
)
# Beside splits: pictures whose labels nobody gave.
_UNLABELLED_WORDS = _table(
    "pred predict prediction predictions unlabeled unlabelled unsup unknown unsupervised "
    "submission inference"
)
# Of these, what is no class beside classes; `unknown` may be one.
_CALLED_UNLABELLED_WORDS = _table("unlabeled unlabelled unsup unsupervised")
_PART_WORDS = _table(
    "part parts batch batches chunk shard fold vol volume disc subset archive "
    "patient patients session sessions study visit"
)
# Of lists of images, which say no class.
_LIST_WORDS = (
    _table("list lists listing filelist file files filename filenames name names path paths index")
    | _table("ids id all shuffled order")
    | _PART_WORDS
    | _EMPTY_WORDS
)
_HOLDER_WORDS = _table("data dataset datasets folder dir")
# Folders of programs and of their results, beside data.
_PROGRAM_WORDS = _table(
    "assets docs doc figures figs plots results output outputs runs logs models weights "
    "checkpoints checkpoint src code scripts notebooks notebook venv env lib node static media "
    "screenshots"
)
_PICTURE_WORDS = _table(
    "image images img imgs photo photos picture pictures jpegimages frame frames rgb input inputs"
)
_CERTAIN_MASK_WORDS = _table("mask masks gt groundtruth segmentation segmentations trimap trimaps")
_MASK_WORDS = _CERTAIN_MASK_WORDS | _table(
    "label labels annotation annotations annot annots truth target targets segmap depth"
)
_KINDS_OF_MASKS = {"class", "object", "instance", "semantic"}
_COPY = re.compile(
    r"(?P<base>.+?)([ _-]+(copy|kopie|copie|copia|kopia|copy of|backup|bak|old)([ _-]*\(?\d+\)?)?"
    r"| \(\d+\))",
    re.IGNORECASE,
)
_LEAST_LETTERS = 3  # of a word that is written together with the name of a split


def name_splits(names: Iterable[str]) -> dict[str, str]:
    """train, validation or test for each name among the names of one level that says so, as
    `Training`, `seg_train`, `val2017`, `pets-test` beside `pets-train`, or `dev` do; `train_val` is
    train, and so is `pets` beside `pets-test`, if nothing else is."""
    names = [*names]
    found: dict[frozenset[str], dict[str, str]] = {}
    for name in names:
        read = [_read(word) for word in _words(name)]
        splits = {split for split, _ in read if split}
        if splits == {"train", "validation"}:
            splits = {"train"}
        if len(splits) == 1:
            rest = frozenset({rest for _, rest in read if rest} - _EMPTY_WORDS)
            found.setdefault(rest, {})[name] = splits.pop()
    for name in names:
        words = _words(name) - _EMPTY_WORDS
        named = found.get(words, {})
        if words and named and name not in named and "train" not in named.values():
            named[name] = "train"
    return {
        name: split
        for rest, named in found.items()
        if not rest or len({*named.values()}) >= 2
        for name, split in named.items()
    }


def words_beside_split(name: str) -> frozenset[str]:
    """The words of a name without those of splits: `family` and `images` of
    `images_family_test`."""
    return frozenset(rest for word in _words(name) if (rest := _read(word)[1]))


@lru_cache(maxsize=10_000)
def _read(word: str) -> tuple[str | None, str]:
    """The split that a word names, and what else is in it: `traindata`, `flowerstest`."""
    if word in _SPLIT_WORDS:
        return _SPLIT_WORDS[word], ""
    for name in _LONGEST_FIRST:
        rest = word.removeprefix(name) if word.startswith(name) else word.removesuffix(name)
        if rest != word and (rest in _EMPTY_WORDS or len(rest) >= _LEAST_LETTERS <= len(name)):
            return _SPLIT_WORDS[name], rest
    return None, word


def sounds_unlabelled(name: str) -> bool:
    """Whether a folder of this name has pictures without labels, as `seg_pred` or `unlabeled`."""
    return bool(_words(name) & _UNLABELLED_WORDS)


def is_called_unlabelled(name: str) -> bool:
    """Whether a folder of this name is no class beside class folders, for example `unlabeled`."""
    words = _words(name) - _EMPTY_WORDS
    return bool(words) and words <= _CALLED_UNLABELLED_WORDS


def spelling_key(name: str) -> str:
    """What names of one class have in common, whatever their case, their Unicode form, letters of
    double width, characters that nobody sees, and the spaces, hyphens or underscores between their
    words."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    return re.sub(r"[\s_-]+", " ", plain.strip())


def are_parts(names: Collection[str]) -> bool:
    """Whether these are parts of one set, for example `images_part_1` and `images_part_2`: names of
    the same words, with other numbers or letters, of which one means a part, or all mean pictures
    and folders."""
    words = [{word for word in _words(name) if len(word) > 1} for name in names]
    same = words[0] if words else set()
    return (
        len(names) > 1
        and all(own == same for own in words)
        and bool(same & _PART_WORDS or (same and same <= _PICTURE_WORDS | _HOLDER_WORDS))
    )


def are_pictures_and_masks(names: Collection[str]) -> bool:
    """Whether these are pictures and what belongs to them pixel by pixel, for example `images` and
    `masks`."""
    words = [_words(name) - (_EMPTY_WORDS - _PICTURE_WORDS) - _KINDS_OF_MASKS for name in names]
    masks = [bool(own & _MASK_WORDS) for own in words]
    return (
        any(masks)
        and not all(masks)
        and all(own and own <= _PICTURE_WORDS | _MASK_WORDS | {*_SPLIT_WORDS} for own in words)
    )


def split_and_label_pattern(names: Collection[str]) -> str | None:
    """The regular expression that reads split and class from names of folders that have both,
    `train_cat` or `cat-test`; None where they have not."""
    parts = [[word for word in re.split(r"[\W_]+", name) if word] for name in names]
    if any(len(own) < 2 for own in parts):
        return None
    for place, pattern in (
        (0, r"(?:^|/)(?P<split>{})[\W_]+(?P<label>[^/]+)/"),
        (-1, r"(?:^|/)(?P<label>[^/]+?)[\W_]+(?P<split>{})/"),
    ):
        words = {own[place] for own in parts}
        if all(_plain(word) in _SPLIT_WORDS for word in words):
            return pattern.format("|".join(sorted(words)))
    return None


def base_of_copy(name: str) -> str | None:
    """What a folder called as Windows or macOS call copies is a copy of: `cat - Copy`, `cat (2)`;
    None for other names."""
    match = _COPY.fullmatch(name)
    return match["base"] if match else None


def masks_beside(names: Iterable[str]) -> dict[str, str]:
    """The folders that are called as the masks of another one, each with that one: `benign_masks`
    with `benign`."""
    words = {name: _words(name) for name in names}
    by_words = {own: name for name, own in reversed(words.items())}  # the first of several
    return {
        name: by_words[plain]
        for name, own in words.items()
        if own & _CERTAIN_MASK_WORDS and (plain := own - _MASK_WORDS) in by_words and plain
    }


def is_called_list(name: str) -> bool:
    """Whether a list of this name has images of any class, for example `train_list` or
    `image_names`: all its words are those of splits and lists."""
    words = {word for word in _words(name) if len(word) > 1}
    return bool(words) and all(word in _LIST_WORDS or word in _SPLIT_WORDS for word in words)


def is_called_by_programs(name: str) -> bool:
    """Whether programs mostly make folders of this name, for example `results`, so that they are no
    classes."""
    words = _words(name)
    return bool(words) and words <= _PROGRAM_WORDS


def is_called_holder(name: str, names: Iterable[str]) -> bool:
    """Whether a folder of this name among these holds a data set: `data`, `dataset`; or `images`,
    if the others are of programs."""
    words = _words(name)
    if words & _HOLDER_WORDS and words <= _HOLDER_WORDS | _EMPTY_WORDS:
        return True
    if not words or not words <= _PICTURE_WORDS:
        return False
    return all(other == name or is_called_by_programs(other) for other in names)


def is_called_masks(name: str) -> bool:
    """Whether a folder of this name has masks, for example `trimaps`."""
    return bool(_words(name) & _CERTAIN_MASK_WORDS)


def mask_names(names: Collection[str]) -> list[str]:
    """Of the folders of one class, those of masks, if the others are its pictures; else none."""
    if not are_pictures_and_masks(names):
        return []
    return sorted(name for name in names if _words(name) & _MASK_WORDS)


@lru_cache(maxsize=10_000)
def _words(name: str) -> frozenset[str]:
    """The words of a name in lower case, without digits and accents."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    name = re.sub(r"h[oe]ld[\W_]*out", "holdout", name, flags=re.IGNORECASE)
    return frozenset(re.findall(r"[^\W\d_]+", _plain(name)))
