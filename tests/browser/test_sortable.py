"""The scoreboard's table is sorted by keyboard and by mouse, without any other file."""

import pytest

from phutils import scoreboard, scoreboard_page


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    rows = scoreboard.scoreboard(tmp_path_factory.mktemp("none"), "quick")
    for row, ratio in zip(rows[:3], (2.0, 10.5, 0.5), strict=True):
        row |= {"ratio": ratio, "verdict": "differs"}
    tab = browser.new_page()
    title = '<section id="scoreboard"><h1>Scoreboard</h1></section>'
    tab.set_content(title + scoreboard_page.as_html(rows))
    yield tab
    tab.close()


def column(page, number):
    return page.locator(f"tbody tr > :nth-child({number})").all_inner_texts()


def test_sorts_by_number_and_keeps_unknown_ones_last(page):
    button = page.get_by_role("button", name="here / paper")
    button.click()
    assert column(page, 4)[:4] == ["0.50", "2.00", "10.50", ""]
    button.click()
    assert column(page, 4)[:4] == ["10.50", "2.00", "0.50", ""]


def test_sorts_by_keyboard_and_says_so(page):
    button = page.get_by_role("button", name="verdict")
    button.focus()
    page.keyboard.press("Enter")
    heading = page.locator("th", has=button)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, 5)[:4] == ["≠ differs"] * 3 + ["○ open"]
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, 5)[0] == "○ open"
    assert page.locator("th[aria-sort]").count() == 1


def test_items_go_back_to_the_order_of_the_paper(page):
    items = [row.item for row in scoreboard.all_claims()]
    page.get_by_role("button", name="item").click()
    assert column(page, 1) == items
