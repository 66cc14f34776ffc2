from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.harness import Notebook

Opener = Callable[..., Notebook]


def test_a_cell_prints_and_a_slider_is_drawn(notebook: Opener):
    page = notebook("print('hello')", "import ipywidgets\nipywidgets.IntSlider(7, description='slots')")

    page.run(0)
    page.run(1)

    expect(page.output(0)).to_have_text("hello\n")
    expect(page.output(1).locator(".widget-readout")).to_have_text("7")
    page.shot("harness-slider")


def test_a_restarted_kernel_answers_and_a_reloaded_page_shows_the_same(notebook: Opener):
    page = notebook("x = 1", "print(globals().get('x'))")
    page.run(0)

    page.restart()
    page.run(1)
    page.reload()

    expect(page.output(1)).to_have_text("None\n")


def test_the_theme_is_switched(notebook: Opener):
    page = notebook("1")

    page.theme("Dark")

    assert page.page.evaluate("() => document.body.dataset.jpThemeName") == "JupyterLab Dark"
    page.theme("Light")
