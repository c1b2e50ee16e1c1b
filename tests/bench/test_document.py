"""Where figures go in a page."""
import pytest

import document

PAGE = "before\n<!-- make a: begin -->\nold\n<!-- make a: end -->\nbetween\n<!-- make b: begin -->\n<!-- make b: end -->\nafter\n"


@pytest.fixture
def page(tmp_path):
    made = tmp_path / "STORE.md"
    made.write_text(PAGE)
    return made


def test_only_what_is_between_its_markers_is_replaced(page):
    document.put(page, "make a", r"| new \1 |")
    assert page.read_text() == PAGE.replace("old", r"| new \1 |")
    document.put(page, "make b", "other\n")
    document.put(page, "make a", "old")
    assert page.read_text() == PAGE.replace("make b: begin -->\n", "make b: begin -->\nother\n")


def test_a_page_without_a_place_stays_as_it_is(page):
    with pytest.raises(ValueError, match="make c"):
        document.put(page, "make c", "text")
    assert page.read_text() == PAGE


def test_a_plot_is_beside_its_page(page):
    assert document.draw(page, "kept", "Kept", "<svg/>") == "![Kept](store/kept.svg)"
    assert (page.parent / "store" / "kept.svg").read_text() == "<svg/>"
