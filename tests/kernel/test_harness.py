from tests.kernel.harness import Kernel

START_A_CHILD = """
import subprocess
child = subprocess.Popen(["sleep", "30"], start_new_session=True)
print("started", flush=True)
"""


def test_a_cell_runs(kernel: Kernel):
    ran = kernel.run("print('hello')\n1 + 1")

    assert (ran.stdout, ran.text, ran.error) == ("hello\n", "2", None)


def test_the_stop_button_raises_in_the_cell(kernel: Kernel):
    cell = kernel.send("import time\nprint('here', flush=True)\ntime.sleep(30)")
    kernel.until(cell, lambda ran: "here" in ran.stdout)

    kernel.interrupt()

    assert kernel.result(cell).error == ("KeyboardInterrupt", "")


def test_a_restarted_kernel_has_forgotten(kernel: Kernel):
    kernel.run("x = 1")
    before = kernel.pid

    kernel.restart()

    assert kernel.pid != before
    assert kernel.run("x").error == ("NameError", "name 'x' is not defined")


def test_what_outlives_its_kernel_is_found(kernel: Kernel):
    kernel.run(START_A_CHILD)
    (child,) = (each.pid for each in kernel.descendants())

    kernel.kill()

    assert kernel.survivors(patience_s=0) == {child: "sleep 30"}
