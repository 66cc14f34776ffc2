"""Web apps in the dashboard: real servers, reached directly and through jupyter-server-proxy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import FrameLocator, Locator, Page, expect

from tests.browser.board import LOAD, Board
from tests.browser.harness import ELSEWHERE, FUSE_S, Lab, Notebook
from tools.workplace import free_port

Opener = Callable[..., Notebook]

# A page in one piece: what it needs stands in it.
WHOLE = '''
import http.server, pathlib, sys, time

PAGE = b"""<!doctype html><title>whole</title><h1>Whole</h1>
<button onclick="n.textContent = +n.textContent + 1">Count</button> clicks: <b id="n">0</b>
<script>document.body.dataset.origin = origin</script>"""

class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    do_HEAD = do_GET

while not all(pathlib.Path(each).exists() for each in sys.argv[3:]):
    time.sleep(0.02)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), App).serve_forever()
'''

# Its page loads a dozen files, and its button speaks with Python over a WebSocket.
COUNTER = """
import panel

button = panel.widgets.Button(name="Count")
said = panel.pane.Str("clicks: 0")
button.on_click(lambda _: said.param.update(object=f"clicks: {button.clicks}"))
panel.Column(button, said).servable()
"""

# The same, but its page asks for files at the root of the host.
ROOTED = """
from bokeh.io import curdoc
from bokeh.models import Button

curdoc().add_root(Button(label="Count"))
"""

COMMANDS = {
    "whole": ["whole.py", "{ip}", "{port}"],
    "late": ["whole.py", "{ip}", "{port}", "late"],
    "counter": ["-m", "panel", "serve", "counter.py", "--address", "{ip}", "--port", "{port}"],
    "rooted": ["-m", "bokeh", "serve", "rooted.py", "--address", "{ip}", "--port", "{port}"],
}


@pytest.fixture
def port(lab: Lab) -> Iterator[int]:
    (lab.folder / "whole.py").write_text(WHOLE)
    (lab.folder / "counter.py").write_text(COUNTER)
    (lab.folder / "rooted.py").write_text(ROOTED)
    return free_port()


def serving(app: str, port: int) -> tuple[str, str]:
    """Cells that serve an app and show the dashboard."""
    command = f"[sys.executable, *{COMMANDS[app]}]"
    return f"{LOAD}\nimport sys", f"jobs.webapp({command}, port={port}, name={app!r}, check_times=60)\njobs"


def started(notebook: Opener, app: str, port: int, *, host: str = "127.0.0.1") -> tuple[Notebook, Board]:
    """A notebook with an app that is being served, and its dashboard."""
    return shown(notebook(*serving(app, port), host=host))


def shown(page: Notebook) -> tuple[Notebook, Board]:
    """Run the first two cells; the dashboard is what the second one gives."""
    page.run(0)
    page.run(1)
    return page, Board.of(page.output(1))


def counts(app: FrameLocator | Page) -> None:
    """Click twice; the app answers."""
    for clicks in (1, 2):
        app.get_by_role("button", name="Count").click()
        expect(app.get_by_text(f"clicks: {clicks}")).to_be_visible()


def frame(board: Board) -> FrameLocator:
    return board.root.frame_locator('[data-testid="app-frame"]')


def opened(page: Notebook, act: Callable[[], object]) -> Page:
    """The tab that opens when one acts so."""
    with page.page.context.expect_page(timeout=FUSE_S * 1000) as opening:
        act()
    tab = opening.value
    tab.set_default_timeout(FUSE_S * 1000)
    return tab


def test_an_app_is_used_in_its_frame_and_in_a_tab(notebook: Opener, port: int):
    page, board = started(notebook, "counter", port)
    row = board.row("counter")
    expect(row.get_by_test_id("app-state")).to_have_text(f":{port} ready")
    link = row.get_by_test_id("app-open")
    expect(link).to_have_attribute("href", f"http://127.0.0.1:{port}/")
    expect(link).to_have_attribute("rel", "noopener noreferrer")

    # The row's link, and its key.
    tab = opened(page, link.click)
    counts(tab)
    assert tab.evaluate("() => window.opener") is None
    tab.close()
    row.focus()
    tab = opened(page, lambda: page.page.keyboard.press("o"))
    counts(tab)
    tab.close()
    expect(board.part("detail")).to_have_count(0)

    # In the panel; it has an origin of its own, and keeps it.
    page.page.keyboard.press("Enter")
    expect(board.part("tab-app")).to_have_attribute("aria-selected", "true")
    counts(frame(board))
    assert "allow-same-origin" in (board.part("app-frame").get_attribute("sandbox") or "").split()
    assert "allow-top-navigation" not in (board.part("app-frame").get_attribute("sandbox") or "")
    expect(board.part("app-address")).to_have_text(f"127.0.0.1:{port}")
    page.shot("webapp-light", board.root)

    # Another tab is looked at meanwhile, and the app goes on where it was; reloaded it begins anew.
    board.part("tab-log").click()
    expect(board.part("app-frame")).to_be_hidden()
    board.part("tab-app").click()
    expect(frame(board).get_by_text("clicks: 2")).to_be_visible()
    board.part("app-reload").click()
    expect(frame(board).get_by_text("clicks: 0")).to_be_visible()

    assert [error for error in page.errors if "405" not in error] == []  # Panel's word to a HEAD


def test_when_the_app_dies_its_frame_goes_and_the_reason_is_told(notebook: Opener, port: int):
    page, board = started(notebook, "counter", port)
    row = board.row("counter")
    board.open("counter")
    counts(frame(board))

    [process] = [each for each in page.kernel().children(recursive=True) if "panel" in each.cmdline()]
    process.kill()
    board.shows(counter="failed")
    expect(board.part("app-frame")).to_have_count(0)
    expect(board.part("app-gone")).to_contain_text(
        re.compile(r"The app has ended \(failed\): CommandFailed.* was killed by SIGKILL")
    )
    expect(row.get_by_test_id("app-open")).to_have_count(0)
    row.focus()
    page.page.keyboard.press("o")
    page.shot("webapp-ended", board.root)
    assert len(page.page.context.pages) == 1


def test_an_app_that_does_not_answer_yet_is_not_framed(notebook: Opener, port: int, lab: Lab):
    (lab.folder / "late").unlink(missing_ok=True)
    page, board = started(notebook, "late", port)
    expect(board.row("late").get_by_test_id("app-state")).to_have_text(f":{port} starting")
    expect(board.row("late").get_by_test_id("app-open")).to_have_count(0)
    panel = board.open("late")
    panel.get_by_test_id("tab-app").click()
    expect(panel.get_by_test_id("app-gone")).to_contain_text("The app is not ready")
    expect(panel.locator("iframe")).to_have_count(0)

    (lab.folder / "late").touch()

    counts_whole(frame(board))
    page.theme("Dark")
    page.shot("webapp-dark", board.root)
    page.theme("Light")
    panel.get_by_test_id("cancel").click()
    expect(panel.get_by_test_id("app-gone")).to_contain_text("The app has ended (cancelled)")
    expect(panel.locator("iframe")).to_have_count(0)
    assert page.errors == []


def counts_whole(app: FrameLocator | Page) -> None:
    app.get_by_role("button", name="Count").click()
    expect(app.locator("#n")).to_have_text("1")


def test_the_frame_goes_with_the_kernel(notebook: Opener, port: int):
    page, board = started(notebook, "whole", port)
    board.open("whole")
    counts_whole(frame(board))

    page.restart()

    expect(board.root).to_have_attribute("data-connection", "gone")
    expect(board.part("app-frame")).to_have_count(0)
    expect(board.part("app-gone")).to_contain_text("The kernel is not there")
    expect(board.row("whole").get_by_test_id("app-state")).to_have_text(f":{port}")
    expect(board.row("whole").get_by_test_id("app-open")).to_have_count(0)


def test_the_app_is_made_higher_and_laid_over_the_table_without_beginning_anew(notebook: Opener, port: int):
    page, board = started(notebook, "whole", port)
    board.open("whole")
    counts_whole(frame(board))
    app = board.part("app-frame")
    height, width = size(app)

    grip = board.part("app-height")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + 20, box["y"] + 4)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 20, box["y"] - 76, steps=8)  # over the frame
    page.page.mouse.up()
    expect(grip).to_have_attribute("aria-valuenow", "480")
    assert size(app)[0] == height - 80
    for _ in range(3):
        grip.press("ArrowDown")
    expect(grip).to_have_attribute("aria-valuenow", "600")
    assert size(app)[0] == height + 40

    board.part("wide").click()
    expect(board.part("grid")).to_be_hidden()
    assert size(app)[1] > 1.8 * width
    expect(frame(board).locator("#n")).to_have_text("1")
    page.page.set_viewport_size({"width": 760, "height": 1400})
    page.shot("webapp-narrow-wide", board.root)
    board.part("wide").click()
    expect(board.row("whole")).to_be_visible()
    page.shot("webapp-narrow", board.root)
    board.part("close-detail").click()
    expect(board.row("whole")).to_be_focused()
    assert page.errors == []


def size(of: Locator) -> tuple[int, int]:
    box = of.bounding_box()
    assert box is not None
    return round(box["height"]), round(box["width"])


def test_from_another_machine_an_app_in_one_piece_is_framed_without_an_origin(notebook: Opener, port: int):
    page, board = started(notebook, "whole", port, host=ELSEWHERE)
    expect(board.row("whole").get_by_test_id("app-open")).to_have_attribute("href", f"/proxy/{port}/")

    board.open("whole")

    counts_whole(frame(board))
    expect(frame(board).locator("body")).to_have_attribute("data-origin", "null")
    sandbox = (board.part("app-frame").get_attribute("sandbox") or "").split()
    assert sorted(sandbox) == ["allow-downloads", "allow-forms", "allow-popups", "allow-scripts"]
    page.shot("webapp-proxied", board.root)
    tab = opened(page, board.part("panel-app").get_by_test_id("app-open").click)
    counts_whole(tab)
    assert tab.url.startswith(f"http://{ELSEWHERE}:")
    tab.close()
    assert page.errors == []


def test_from_another_machine_an_app_that_speaks_over_a_websocket_is_used_in_a_tab(notebook: Opener, port: int):
    page, board = started(notebook, "counter", port, host=ELSEWHERE)
    panel = board.open("counter")
    why = panel.get_by_test_id("app-why")
    expect(why).to_contain_text(re.compile(r"needs a tab of its own.*shut off from Jupyter's login, and the \d+ files"))
    expect(panel.locator("iframe")).to_have_count(0)
    page.shot("webapp-needs-a-tab", board.root)

    sockets: list[str] = []
    page.page.context.on("page", lambda tab: tab.on("websocket", lambda socket: sockets.append(socket.url)))
    tab = opened(page, why.get_by_test_id("app-open").click)

    counts(tab)
    assert any(url.startswith(f"ws://{ELSEWHERE}:") and f"/proxy/{port}/counter/ws" in url for url in sockets)
    tab.close()
    assert page.errors == []

    # It is true that it could not have been used here.
    panel.get_by_test_id("app-anyway").click()
    expect(panel.get_by_test_id("app-frame")).to_be_visible()
    to_login = lambda answer: answer.status == 302 and f"/proxy/{port}/static/" in answer.url  # noqa: E731
    with page.page.expect_response(to_login, timeout=FUSE_S * 1000):
        panel.get_by_test_id("app-reload").click()
    assert frame(board).get_by_role("button", name="Count").count() == 0


def test_from_another_machine_an_app_that_takes_the_host_for_its_own_is_told(notebook: Opener, port: int):
    page, board = started(notebook, "rooted", port, host=ELSEWHERE)

    board.open("rooted")

    why = board.part("app-why")
    expect(why).to_contain_text(re.compile(r"does not go through a proxy.*/static/js/bokeh.*at the root of the host"))
    expect(why).to_contain_text(f"ssh -L {port}:127.0.0.1:{port} {ELSEWHERE}")
    page.shot("webapp-rooted", board.root)
    assert page.errors == []


def test_without_a_way_the_reason_and_the_way_out_are_told(notebook: Opener, port: int):
    page = notebook(*serving("whole", port), host=ELSEWHERE)
    page.page.route("**/server-proxy/**", lambda route: route.fulfill(status=404))
    page, board = shown(page)
    expect(board.row("whole").get_by_test_id("app-state")).to_have_text(f":{port} ready")
    expect(board.row("whole").get_by_test_id("app-open")).to_have_count(0)

    board.row("whole").focus()
    page.page.keyboard.press("o")

    why = board.part("app-why")
    expect(why).to_contain_text(f"This page comes from {ELSEWHERE}")
    expect(why).to_contain_text("pip install jupyter-server-proxy")
    expect(why).to_contain_text(f"ssh -L {port}:127.0.0.1:{port} {ELSEWHERE}")
    expect(why.get_by_test_id("app-open")).to_have_attribute("href", f"http://127.0.0.1:{port}/")
    expect(board.root.locator("iframe")).to_have_count(0)
    page.shot("webapp-no-way", board.root)

    page.page.unroute("**/server-proxy/**")
    board.part("app-again").click()
    counts_whole(frame(board))


def test_behind_a_tunnel_that_brings_no_other_port_the_proxy_is_used(notebook: Opener, port: int):
    page = notebook(*serving("whole", port))
    page.page.route(f"http://127.0.0.1:{port}/**", lambda route: route.abort("connectionrefused"))
    page, board = shown(page)

    board.open("whole")

    expect(board.part("app-frame")).to_have_attribute("src", f"/proxy/{port}/")
    counts_whole(frame(board))


def test_hostile_addresses_are_text(notebook: Opener, lab: Lab, port: int):
    hostile = [
        "javascript:window.__pwn=1", "data:text/html,<script>top.__pwn=1</script>", "//evil.example:80",
        "http://127.0.0.1:1@evil.example:80", "http://127.0.0.1 :80", "http://evil.example:80",
        f"{lab.url}/files/evil.html",
    ]  # fmt: skip
    lines = [
        "def tell(job, **changes):",
        "    flow = job.engine.flow",
        "    flow.home.call(lambda: (job._set(changes), flow.touch(job)))",
        f"for address in {hostile!r}:",
        "    job = jobs.options(name=address).thread(wait_for, 'never')",
        "    tell(job, address=address, ready=True)",
        "jobs",
    ]
    page = notebook(LOAD, "\n".join(lines))
    page, board = shown(page)

    for address in hostile:
        row = board.row(address)
        expect(row.get_by_test_id("app-state")).to_have_text(re.compile(rf"{re.escape(address[:40])}.* ready$"))
        panel = board.open(address)
        panel.get_by_test_id("tab-app").click()
        expect(panel.get_by_test_id("app-why")).to_contain_text("none that this page opens")
        expect(panel.get_by_test_id("app-why")).to_contain_text(address)
        assert board.root.locator("iframe, a").count() == 0
        row.focus()
        page.page.keyboard.press("o")
    page.shot("webapp-hostile", board.root)
    assert len(page.page.context.pages) == 1
    assert page.page.evaluate("() => typeof window.__pwn") == "undefined"
    assert page.errors == []
