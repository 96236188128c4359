"""One Airflow and one headless Chromium for all tests of this folder."""

import pytest

from tests.support.browser_site import airflow, chromium, log_in


@pytest.fixture(scope="session")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def site(browser, tmp_path_factory):  # a missing browser shows before Airflow starts
    with airflow(tmp_path_factory.mktemp("home")) as site:
        yield site


@pytest.fixture(scope="session")
def state(site, browser, tmp_path_factory):
    return log_in(browser, site, tmp_path_factory.mktemp("login") / "state.json")


@pytest.fixture
def visit(browser, state):
    """`visit(theme="light", width=...)`: a page of somebody who is logged in. Errors of scripts fail."""
    contexts, errors = [], []

    def visit(theme="light", width=1360):
        context = browser.new_context(
            storage_state=state, color_scheme=theme, viewport={"width": width, "height": 1000}
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []
