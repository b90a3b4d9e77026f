"""A real browser for the tests of pages: Debian's `chromium` and `chromium-driver`, and axe-core;
`needs_browser` skips without them."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="the browser's tests need selenium: requirements/tests.txt")
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

BROWSER, DRIVER = (
    shutil.which("chromium") or shutil.which("google-chrome"),
    shutil.which("chromedriver"),
)
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="chromium or chromedriver is not installed"
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = BROWSER
    arguments = ["--headless=new", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    # root has no sandbox to be in
    for argument in arguments + (["--no-sandbox"] if os.geteuid() == 0 else []):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def set_view(browser: Chrome, width: int, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def forget_logs(browser: Chrome) -> None:
    for log in ("browser", "performance"):
        browser.get_log(log)


def requested(browser: Chrome) -> set[str]:
    """All that was asked for since the logs were last read, but for what a page holds in itself."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    return {url for url in sent if not url.startswith("data:")}


def assert_its_policy_blocks_others(browser: Chrome) -> None:
    """See that the page's policy lets no other script run and no picture in from outside."""
    ran = """
        const script = document.createElement('script');
        script.textContent = 'window.ran = 1';
        document.body.append(script);
        const picture = new Image();
        picture.src = 'http://127.0.0.1:9/a.png';
        document.body.append(picture);
        return window.ran
    """
    assert browser.execute_script(ran) is None
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert sum("Content Security Policy" in message for message in said) >= 2


def assert_it_does_not_scroll_sideways(browser: Chrome, but: str = "") -> None:
    """See that nothing reaches beyond the right edge.

    Args:
        but: a CSS selector of what may, with all in it.
    """
    script = """
        const root = document.documentElement;
        const isBeyond = e => e.getBoundingClientRect().right > innerWidth + 1;
        return [root.scrollWidth - root.clientWidth, [...document.body.querySelectorAll('*')]
            .filter(e => isBeyond(e) && !(arguments[0] && e.closest(arguments[0])))
            .map(e => e.outerHTML.slice(0, 80))];
    """
    assert browser.execute_script(script, but) == [0, []]


def grave_violations(browser: Chrome) -> list[tuple[str, list[str]]]:
    """What axe-core finds serious or critical on the page as it stands: rules, and the elements
    that break them."""
    # from requirements/tests.txt, as Selenium is: without it this fails
    found = find_spec("axe_playwright_python")
    browser.execute_script(
        (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    )
    violations = browser.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then(result => "
        "arguments[0](result.violations))"
    )
    grave = [
        violation for violation in violations if violation["impact"] in ("serious", "critical")
    ]
    return [
        (violation["id"], [node["html"][:120] for node in violation["nodes"][:3]])
        for violation in grave
    ]
