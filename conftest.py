"""For every test and doctest, however pytest is started: nothing goes into the home folder, nothing is left running."""

import os

from tools.workplace import isolated

os.environ.update(isolated(), JUPYTER_PREFER_ENV_PATH="1")

pytest_plugins = ["tests.leaks"]
