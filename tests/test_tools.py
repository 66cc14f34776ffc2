import os
import socket
import subprocess
import sys
from pathlib import Path

from tools import residue
from tools.counting import Count, judged, read_junit
from tools.workplace import WORK, environment, free_port

REPORT = """<testsuites><testsuite>
  <testcase classname="t" name="good"/>
  <testcase classname="t" name="bad"><failure/></testcase>
  <testcase classname="t" name="bad"><error/></testcase>
  <testcase classname="t" name="leaky"/>
  <testcase classname="t" name="leaky"><error/></testcase>
  <testcase classname="t" name="elsewhere"><skipped/></testcase>
</testsuite></testsuites>"""


def test_a_test_is_counted_once(tmp_path: Path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)

    assert str(read_junit(report)) == "1 passed, 2 failed, 1 skipped"


def test_a_program_that_ran_nothing_has_failed():
    assert judged(0, Count()).failed == 1
    assert judged(3, Count(passed=5)).failed == 1
    assert judged(0, Count(passed=5)).failed == 0


def test_what_is_written_into_the_home_folder_is_found(tmp_path: Path):
    (tmp_path / ".local/share/jupyter/kernels").mkdir(parents=True)
    (tmp_path / "Documents").mkdir()
    before = residue.home_listing(tmp_path)

    (tmp_path / ".ipython").mkdir()
    (tmp_path / ".local/share/jupyter/kernels/kernel.json").touch()
    (tmp_path / ".cache/pip").mkdir(parents=True)
    (tmp_path / "Documents/letter.txt").touch()

    found = residue.differences(before, residue.home_listing(tmp_path))
    assert found == [".ipython", ".local/share/jupyter/kernels/kernel.json"]


def test_nothing_is_found_where_nothing_was_written(tmp_path: Path):
    (tmp_path / ".config/matplotlib").mkdir(parents=True)
    (tmp_path / ".config/matplotlib/rc").touch()

    assert residue.differences(residue.home_listing(tmp_path), residue.home_listing(tmp_path)) == []


def test_a_process_is_found_by_what_stands_in_its_environment():
    mark = f"IPYJOBS_TEST={os.getpid()}"
    name, value = mark.split("=")
    script = "print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, name: value}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()

        found = residue.processes(mark)

    assert list(found) == [process.pid]


def test_a_taken_port_is_passed_over():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert port < free_port(port) < port + 100


def test_programs_find_their_folders_below_the_checkout():
    ask = """
import IPython.paths, jupyter_core.paths, platformdirs
for folder in (
    IPython.paths.get_ipython_dir(), jupyter_core.paths.jupyter_config_dir(), jupyter_core.paths.jupyter_data_dir(),
    jupyter_core.paths.jupyter_runtime_dir(), platformdirs.user_data_dir("ipyjobs"),
    platformdirs.user_config_dir("ipyjobs"), platformdirs.user_cache_dir("ipyjobs"),
):
    print(folder)
"""

    said = subprocess.run([sys.executable, "-c", ask], check=True, env=environment(), capture_output=True, text=True)

    assert [folder for folder in said.stdout.splitlines() if not Path(folder).is_relative_to(WORK)] == []
