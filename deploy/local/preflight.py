"""Says in one sentence what this machine lacks, before anything is installed. Standard library only.

Runs under whatever Python the machine calls python3, so it keeps to old syntax.
"""

import importlib.util
import os
import shutil
import sys

NEEDED_GIB = 12  # both environments, the base model and room for a few nights


def problem():
    if sys.version_info[:2] != (3, 11):
        return "Nightshift needs Python 3.11 and found {}. Install it and run: make PYTHON=python3.11".format(
            sys.version.split()[0]
        )
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        return "Python's venv module is missing. On Debian or Ubuntu: apt install python3.11-venv"
    if " " in os.getcwd():
        return "make cannot work in a folder whose path has a space: {}. Move the checkout.".format(
            os.getcwd()
        )
    if shutil.which("git") is None:
        return "git is missing. On Debian or Ubuntu: apt install git"
    free_gib = shutil.disk_usage(".").free / 2**30
    if free_gib < NEEDED_GIB:
        return "Set-up needs {} GiB of free disk; here are {:.1f}. Free some and run make again.".format(
            NEEDED_GIB, free_gib
        )
    return None


if __name__ == "__main__":
    sys.exit(problem())
