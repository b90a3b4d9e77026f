"""The report in a real browser: what a person with a phone, a keyboard, a screen reader or a printer meets.

Debian's `chromium` and `chromium-driver`; without them these tests are skipped.
"""

import base64
import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from reporting import write_world
from test_report import HOSTILE

from stages.report import PAGE, main

pytest.importorskip("selenium", reason="the browser's tests need selenium: tests/requirements.txt")
from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium or chromedriver is not installed")
WIDTHS = (390, 1440)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = BROWSER
    arguments = ["--headless=new", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]
    for argument in arguments + (["--no-sandbox"] if os.geteuid() == 0 else []):  # root has no sandbox to be in
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A report of ordinary names, with more mistakes than one screen shows, and one of hostile ones."""
    made = {}
    for name, classes in (("plain", ["cat", "dog", "eel"]), ("hostile", HOSTILE)):
        folder = tmp_path_factory.mktemp(name)
        write_world(folder, classes, n_test=30, wrong=range(0, 30, 3))
        with contextlib.chdir(folder):
            main()
        made[name] = folder / PAGE
    return made


def show(browser: Chrome, page: Path, width: int = 1440, scheme: str = "light") -> None:
    """Open a page afresh; forget what earlier pages logged."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())


def shown(browser: Chrome) -> list[dict]:
    """What the visible mistakes say of themselves, in their order."""
    script = "return [...document.querySelectorAll('#mistake-list > li')].filter(e => e.offsetParent).map(e => ({...e.dataset}))"
    return browser.execute_script(script)


def count(browser: Chrome) -> str:
    return browser.find_element(By.ID, "count").text


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_it_opens_without_an_error_and_without_a_network(browser, pages, name):
    show(browser, pages[name])
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = {message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"}
    assert {url for url in sent if not url.startswith("data:")} == {pages[name].as_uri()}
    widths = browser.execute_script("return [...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(widths) > 10
    assert all(widths)


def test_its_policy_lets_no_other_script_run_and_nothing_out(browser, pages):
    show(browser, pages["plain"])
    ran = """
        const script = document.createElement('script'); script.textContent = 'window.ran = 1'; document.body.append(script);
        const picture = new Image(); picture.src = 'http://127.0.0.1:9/a.png'; document.body.append(picture);
        return window.ran
    """
    assert browser.execute_script(ran) is None
    assert sum("Content Security Policy" in entry["message"] for entry in browser.get_log("browser")) >= 2


@pytest.mark.parametrize("name", ["plain", "hostile"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_scroll_sideways(browser, pages, name, width):
    show(browser, pages[name], width)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert browser.execute_script("const root = document.documentElement; return root.scrollWidth - root.clientWidth") == 0
    outside = """
        const beyond = e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, svg, .skip');
        return [...document.body.querySelectorAll('*')].filter(beyond).map(e => e.outerHTML.slice(0, 80))
    """
    assert browser.execute_script(outside) == []


@pytest.mark.parametrize(("name", "scheme", "width"), [("plain", "light", 390), ("plain", "dark", 1440), ("hostile", "light", 1440)])
def test_axe_finds_no_serious_violation(browser, pages, name, scheme, width):
    found = find_spec("axe_playwright_python")  # from tests/requirements.txt, as Selenium is: without it this fails
    show(browser, pages[name], width, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
    browser.execute_script((Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8"))
    violations = browser.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then(result => arguments[0](result.violations))"
    )
    grave = [violation for violation in violations if violation["impact"] in ("serious", "critical")]
    assert [(violation["id"], [node["html"][:120] for node in violation["nodes"][:3]]) for violation in grave] == []


def test_mistakes_are_filtered_by_model_class_and_text(browser, pages):
    show(browser, pages["plain"])
    everything = shown(browser)
    assert count(browser) == f"All {len(everything)} shown"
    Select(browser.find_element(By.ID, "by-model")).select_by_value("augmented")
    one_model = shown(browser)
    assert {one["model"] for one in one_model} == {"augmented"}
    assert count(browser) == f"{len(one_model)} of {len(everything)} shown"
    Select(browser.find_element(By.ID, "by-class")).select_by_value("eel")
    assert all("eel" in (one["actual"], one["predicted"]) for one in shown(browser))
    assert 0 < len(shown(browser)) < len(one_model)
    browser.find_element(By.ID, "search").send_keys("EEL/TEST_0000")
    assert {one["path"].startswith("eel/test_0000") for one in shown(browser)} == {True}
    browser.find_element(By.ID, "search").send_keys(" nowhere")
    assert shown(browser) == []
    assert count(browser) == f"0 of {len(everything)} shown"


def test_mistakes_are_filtered_by_a_class_of_any_name(browser, pages):
    show(browser, pages["hostile"])
    select = Select(browser.find_element(By.ID, "by-class"))
    for place in range(1, len(select.options)):
        select.select_by_index(place)
        assert 0 < len(shown(browser)) < 30, select.options[place].text


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("surest", lambda one: -float(one["probability"])),
        ("least", lambda one: float(one["probability"])),
        ("path", lambda one: one["path"]),
        ("actual", lambda one: (one["actual"], one["path"])),
        ("listed", lambda one: ("head", "augmented", "finetuned").index(one["model"])),
    ],
)
def test_mistakes_are_sorted(browser, pages, order, key):
    show(browser, pages["plain"])
    Select(browser.find_element(By.ID, "order")).select_by_value("path")
    Select(browser.find_element(By.ID, "order")).select_by_value(order)
    found = [key(one) for one in shown(browser)]
    assert len(found) > 20
    assert found == sorted(found)


def test_a_keyboard_reaches_and_works_everything(browser, pages):
    show(browser, pages["plain"], 390)
    reached = []
    for _ in range(80):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.switch_to.active_element
        outline = focused.value_of_css_property("outline-style")
        reached.append(focused.get_attribute("id") or focused.get_attribute("class") or focused.tag_name)
        assert outline != "none", reached[-1]
        if reached[-1] == "search":
            break
    assert reached[0] == "skip"
    assert "theme" in reached
    assert "summary" in reached
    assert "scroll" in reached  # the table of the models is wider than a phone
    browser.switch_to.active_element.send_keys("dog", Keys.TAB)
    browser.switch_to.active_element.send_keys("h")
    assert {one["model"] for one in shown(browser)} == {"head"}


def test_the_skip_link_leads_to_the_report(browser, pages):
    show(browser, pages["plain"])
    browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "main"


def test_colours_follow_the_system_and_the_button(browser, pages):
    def ground() -> str:
        return browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")

    show(browser, pages["plain"])
    light = ground()
    browser.find_element(By.ID, "theme").click()
    dark = ground()
    assert light != dark
    assert browser.find_element(By.ID, "theme").text == "Light colours"
    show(browser, pages["plain"], scheme="dark")
    assert ground() == dark
    chart_follows = "return getComputedStyle(document.querySelector('#summary svg text')).fill === getComputedStyle(document.body).color"
    assert browser.execute_script(chart_follows)


def test_without_scripts_everything_is_there_and_no_dead_control(browser, pages):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    show(browser, pages["plain"])
    items = browser.find_elements(By.CSS_SELECTOR, "#mistake-list > li")
    assert len(items) > 20
    assert all(item.is_displayed() for item in items)
    assert not browser.find_element(By.CSS_SELECTOR, ".controls").is_displayed()
    assert not browser.find_element(By.ID, "theme").is_displayed()
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_print_shows_what_is_folded_and_no_controls(browser, pages):
    show(browser, pages["plain"], scheme="dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not browser.find_element(By.CSS_SELECTOR, ".controls").is_displayed()
    assert browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"
    heights = "return [...document.querySelectorAll('details table')].map(each => each.getBoundingClientRect().height)"
    assert all(browser.execute_script(heights))
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
