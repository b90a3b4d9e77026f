"""The report in a real browser: what a person with a phone, a keyboard, a screen reader or a
printer meets.

Without a browser (`browser.py`) these tests are skipped.
"""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from stages.report import PAGE
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
from tests.helpers.report_page import HOSTILE, report
from tests.helpers.report_world import write_world

pytestmark = needs_browser
WIDTHS = (390, 1440)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A report of ordinary names, with more mistakes than one screen shows,
    and one of hostile ones."""
    made = {}
    for name, classes in (("plain", ["cat", "dog", "eel"]), ("hostile", HOSTILE)):
        folder = tmp_path_factory.mktemp(name)
        write_world(folder, classes, n_test=30, wrong=range(0, 30, 3))
        report(folder)
        made[name] = folder / PAGE
    return made


def show(browser: Chrome, page: Path, width: int = 1440, scheme: str = "light") -> None:
    """Open a page afresh; forget what earlier pages logged."""
    set_view(browser, width, scheme)
    forget_logs(browser)
    browser.get(page.as_uri())


def shown(browser: Chrome) -> list[dict]:
    """What the visible mistakes say of themselves, in their order."""
    script = (
        "return [...document.querySelectorAll('#mistake-list > li')].filter(e => "
        "e.offsetParent).map(e => ({...e.dataset}))"
    )
    return browser.execute_script(script)


def count(browser: Chrome) -> str:
    return browser.find_element(By.ID, "count").text


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_it_opens_without_an_error_and_without_a_network(browser, pages, name):
    show(browser, pages[name])
    assert browser.get_log("browser") == []
    assert (
        browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        == []
    )
    assert requested(browser) == {pages[name].as_uri()}
    widths = browser.execute_script(
        "return [...document.images].map(image => image.complete && image.naturalWidth)"
    )
    assert len(widths) > 10
    assert all(widths)


def test_its_policy_lets_no_other_script_run_and_nothing_out(browser, pages):
    show(browser, pages["plain"])
    assert_its_policy_blocks_others(browser)


@pytest.mark.parametrize("name", ["plain", "hostile"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_scroll_sideways(browser, pages, name, width):
    show(browser, pages[name], width)
    browser.execute_script(
        "document.querySelectorAll('details').forEach(each => { each.open = true })"
    )
    assert_it_does_not_scroll_sideways(browser, but=".scroll, svg, .skip")


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [("plain", "light", 390), ("plain", "dark", 1440), ("hostile", "light", 1440)],
)
def test_axe_finds_no_serious_violation(browser, pages, name, scheme, width):
    show(browser, pages[name], width, scheme)
    browser.execute_script(
        "document.querySelectorAll('details').forEach(each => { each.open = true })"
    )
    assert grave_violations(browser) == []


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
        reached.append(
            focused.get_attribute("id") or focused.get_attribute("class") or focused.tag_name
        )
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
    chart_follows = (
        "return getComputedStyle(document.querySelector('#summary svg text')).fill === "
        "getComputedStyle(document.body).color"
    )
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
    assert (
        browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        == "rgba(255, 255, 255, 1)"
    )
    heights = (
        "return [...document.querySelectorAll('details table')].map(each => "
        "each.getBoundingClientRect().height)"
    )
    assert all(browser.execute_script(heights))
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
