"""Copies resources/ into the package when a wheel is built.

The folder stands at the top of the repository, where people look for it, and setuptools can only declare files inside a
package as package data. A clone, and an editable install of it, reads the folder where it stands.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithResources(build_py):
    """Adds `chatapp/_resources`, where `chatapp.resources` looks for it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            goal = Path(self.build_lib) / "chatapp" / "_resources"
            shutil.rmtree(goal, ignore_errors=True)
            shutil.copytree(Path(__file__).parent / "resources", goal)


setup(cmdclass={"build_py": BuildWithResources})
