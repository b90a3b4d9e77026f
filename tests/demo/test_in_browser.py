"""The demo in a real browser, with the real server behind it: what a person sees who drops images,
good and bad ones.

Without a browser (`browser.py`) these tests are skipped.
"""

import base64
import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.helpers.browser import (
    Chrome,
    assert_it_does_not_scroll_sideways,
    assert_its_policy_blocks_others,
    chromium,
    forget_logs,
    grave_violations,
    needs_browser,
    requested,
    set_view,
)
from tests.helpers.tiny_pipeline import environment

pytestmark = needs_browser
HOSTILE = "<img src=x onerror=alert(1)>.png"
LONG = f"{'a_very_long_name_without_a_space_' * 4}.jpg"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def hear_ctrl_c() -> None:
    """As a terminal starts a program. A shell without job control has what it starts in the
    background ignore Ctrl-C, tests included."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(base: Path, errors: Path, *options: str) -> Iterator[SimpleNamespace]:
    """`python -m transfer demo` in a reproduced world, and where it is."""
    command = [sys.executable, "-m", "transfer", "demo", "--port", "0", *options]
    with errors.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=base,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            preexec_fn=hear_ctrl_c,
        )
    said = process.stdout.readline()
    if "http://127.0.0.1:" not in said:
        pytest.fail(f"{said}{errors.read_text()[-3000:]}")
    yield SimpleNamespace(process=process, url=said.split(" at ")[1].split()[0], errors=errors)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def demo(base: Path, tmp_path_factory) -> Iterator[SimpleNamespace]:
    with running(base, tmp_path_factory.mktemp("demo") / "stderr", "--max-megabytes", "1") as demo:
        yield demo


@pytest.fixture(scope="module")
def files(base: Path, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    image = (base / "images/a/0.png").read_bytes()
    contents = {
        HOSTILE: image,
        "broken.png": image[:200],
        LONG: b"no image",
        "large.png": image + bytes(1_100_000),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def show(
    browser: Chrome, demo: SimpleNamespace, *chosen: Path, width: int = 1440, scheme: str = "light"
) -> list[dict]:
    """Open the page afresh and choose files; the cards, when all are done."""
    set_view(browser, width, scheme)
    forget_logs(browser)
    browser.get(demo.url)
    if chosen:
        browser.find_element(By.ID, "files").send_keys("\n".join(map(str, chosen)))
    return cards(browser, len(chosen))


def cards(browser: Chrome, n: int) -> list[dict]:
    done = (
        "return [...document.querySelectorAll('.card')].filter(e => "
        "e.querySelector('.state').textContent !== 'Waiting').length"
    )
    explained = (
        "return [...document.querySelectorAll('.answer:not([hidden]) .heat')].every("
        "e => e.naturalWidth)"
    )
    status = browser.find_element(By.ID, "status")
    WebDriverWait(browser, 120).until(
        lambda _: (
            browser.execute_script(done) == n
            and (n == 0 or "done" in status.text)
            and browser.execute_script(explained)
        )
    )
    return browser.execute_script("""
        const names = ['name', 'state', 'class', 'chance', 'likeness', 'why'];
        const text = (card, name) => card.querySelector(`.${name}`).innerText;
        return [...document.querySelectorAll('.card')].map(card => {
            const images = [...card.querySelectorAll('img')];
            return {
                ...Object.fromEntries(names.map(name => [name, text(card, name)])),
                alts: images.map(image => image.alt),
                nearest: card.querySelectorAll('.nearest li').length,
                widths: images.map(image => image.complete && image.naturalWidth),
            };
        });
    """)


def test_an_image_gets_the_answer_that_evaluate_has(base, browser, demo):
    evaluated = list(
        csv.DictReader(
            io.StringIO((base / "data/evaluation/finetuned/predictions.csv").read_text())
        )
    )
    shown = show(browser, demo, *(base / "images" / one["path"] for one in evaluated))
    for card, one in zip(shown, evaluated, strict=True):
        assert card["name"] == Path(one["path"]).name
        assert (card["class"], card["chance"]) == (
            one["predicted"],
            f"{100 * float(one['probability']):.1f} %",
        )
        assert f"speaks for {one['predicted']}" in card["why"]
        assert "of the validation images are nearer" in card["likeness"]
        assert card["nearest"] == 5
        assert len(card["widths"]) == 7
        assert all(card["widths"])
        assert all(card["alts"])
    assert browser.find_element(By.ID, "status").text == f"{len(evaluated)} images done."
    assert browser.get_log("browser") == []
    assert requested(browser) == {
        demo.url + name for name in ("", "page.css", "page.js", "predict", "explain")
    }


def test_for_the_nearest_neighbours_a_training_image_speaks(base, browser, tmp_path):
    image = base / "images/a/0.png"
    with running(base, tmp_path / "stderr", "--model", "neighbours") as demo:
        (card,) = show(browser, demo, image)
        asked = Request(
            f"{demo.url}explain", image.read_bytes(), {"Content-Type": "application/octet-stream"}
        )
        with urlopen(asked) as answer:
            explained = json.load(answer)
    manifest = pd.read_csv(base / "data/manifest/manifest.csv")
    train = manifest[manifest["split"] == "train"].reset_index(drop=True)
    (row,) = np.flatnonzero(train["path"] == explained["example"])
    picture = base64.b64decode(explained["heat"].partition(",")[2])
    assert train["class_name"][row] == explained["predicted"] == card["class"]
    assert (
        np.asarray(Image.open(io.BytesIO(picture)))
        == np.load(base / "data/images/train/images.npy")[row]
    ).all()
    assert card["why"].startswith(f"What speaks for {card['class']}: the training image of this ")
    assert f"Training image of class {card['class']}" in card["alts"]
    assert len(card["widths"]) == 7 and all(card["widths"]) and all(card["alts"])
    assert browser.get_log("browser") == []


def test_unusable_files_show_the_reason_and_the_others_are_labelled(browser, demo, files):
    broken, no_image, large, sound = show(
        browser, demo, files["broken.png"], files[LONG], files["large.png"], files[HOSTILE]
    )
    assert broken["state"].startswith("Cannot be used: damaged or truncated: ")
    assert no_image["state"].startswith("Cannot be used: not a JPEG, PNG, GIF, BMP, WebP, TIFF")
    assert large["state"] == "Cannot be used: it has 1.1 MB, more than the 1.0 MB that are allowed"
    assert sound["class"] in "ab"
    assert browser.find_element(By.ID, "status").text == "4 images done, 3 could not be used."
    assert {entry["source"] for entry in browser.get_log("browser")} == {"network"}, (
        "Chromium's own note of each answer 400"
    )


def test_a_file_of_a_hostile_name_is_only_its_name(browser, demo, files):
    (card,) = show(browser, demo, files[HOSTILE])
    assert card["name"] == HOSTILE
    assert len(card["widths"]) == 7
    assert browser.get_log("browser") == []


def test_images_can_be_dropped_and_no_policy_is_in_the_way(browser, demo, base):
    show(browser, demo)
    browser.execute_script(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), each => each.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], 'dropped.png'));
        document.querySelector('h1').dispatchEvent(
            new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true}));
        """,
        base64.b64encode((base / "images/b/1.png").read_bytes()).decode(),
    )
    (card,) = cards(browser, 1)
    assert card["name"] == "dropped.png"
    assert card["class"] in "ab"


def test_its_policy_lets_no_other_script_run_and_nothing_out(browser, demo):
    show(browser, demo)
    assert_its_policy_blocks_others(browser)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1440, "dark")])
def test_it_can_be_read_by_everyone_and_does_not_scroll_sideways(
    browser, demo, files, width, scheme
):
    show(browser, demo, files[HOSTILE], files[LONG], width=width, scheme=scheme)
    assert grave_violations(browser) == []
    assert_it_does_not_scroll_sideways(browser)


def test_a_keyboard_reaches_the_choice_of_files(browser, demo):
    show(browser, demo)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("id") == "files"
    assert (
        browser.find_element(By.CSS_SELECTOR, "label[for=files]").value_of_css_property(
            "outline-style"
        )
        == "solid"
    )


def test_ctrl_c_ends_it_quietly_and_the_open_page_says_so(browser, demo, files):
    show(browser, demo)
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=20) == 0
    assert "Traceback" not in demo.errors.read_text()
    browser.find_element(By.ID, "files").send_keys(str(files[HOSTILE]))
    assert (
        cards(browser, 1)[0]["state"]
        == "Cannot be used: the demo does not answer; does it still run?"
    )
