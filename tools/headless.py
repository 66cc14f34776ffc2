"""Run a notebook without a browser, then print the table of its jobs and its best model. Runs in `.venv`.

Of the notebook it expects two names: `jobs`, whose `values()` are jobs, and `best`, a job whose result is shown.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbclient
import nbformat
from nbclient.exceptions import CellExecutionError

# Goes into the notebook's kernel after its last cell, and into no file.
ASK = """
def _ipyjobs_demo():
    import json
    rows = []
    for job in jobs.values():
        ended = job.started_at is not None and job.ended_at is not None
        rows.append({
            "name": job.name, "status": str(job.status), "backend": job.backend, "attempts": len(job.attempts),
            "duration_s": job.ended_at - job.started_at if ended else None,
        })
    print(json.dumps({"rows": rows, "best": repr(best.result()) if "best" in globals() else None}))
_ipyjobs_demo()
"""
COLUMNS = ("name", "status", "backend", "attempts", "duration")


def main() -> int:
    path = Path(sys.argv[1])
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(ASK))
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )  # fmt: skip
    try:
        client.execute()
    except CellExecutionError as error:
        print(re.sub(r"\x1b\[[0-9;]*m", "", str(error)), file=sys.stderr)
        print(f"ipyjobs: {path.name} failed; the cell and its traceback are above", file=sys.stderr)
        return 1
    said = "".join(each.text for each in notebook.cells[-1].outputs if each.get("name") == "stdout")
    answer = json.loads(said.splitlines()[-1])
    print_table(answer["rows"])
    print(f"\nbest model: {answer['best']}" if answer["best"] else "\nthe notebook has no name `best`")
    return 0


def print_table(rows: list[dict[str, object]]) -> None:
    cells = [COLUMNS, *(_words(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    print()
    for row in cells:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _words(row: dict[str, object]) -> tuple[str, ...]:
    duration_s = row["duration_s"]
    duration = f"{duration_s:.2f} s" if isinstance(duration_s, float | int) else "-"
    return (str(row["name"])[:60], str(row["status"]), str(row["backend"]), str(row["attempts"]), duration)


if __name__ == "__main__":
    sys.exit(main())
