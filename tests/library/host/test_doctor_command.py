"""`chatapp doctor` as a process, and the one question that it may ask the network."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chatapp.library.host.examination import Subject, examine
from chatapp.library.host.metadata_service import ask_instance_type
from chatapp.resources import resource_path
from tests.helpers.neuron_machine import NeuronMachine

ROOT = Path(__file__).resolve().parents[3]


def _environ(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def test_json_and_exit_status_agree() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatapp", "doctor", "--json"], capture_output=True, env=_environ(), timeout=60
    )
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["good"] else 1)
    assert document["good"] == (document["counts"]["bad"] == 0)


def test_something_bad_fails(tmp_path: Path) -> None:
    """A Python without the program's packages is bad in any case."""
    isolated = f"import sys, typing_extensions; sys.path = [{str(ROOT)!r}, *[p for p in sys.path if 'site-packages' not in p]]; "
    start = "from chatapp import cli; sys.exit(cli.main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", isolated + start], capture_output=True, text=True, env=_environ(), timeout=60
    )
    assert done.returncode == 1
    assert "not installed" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_and_no_color_takes_it_away(variable: str, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "chatapp", "doctor"],
            stdout=theirs,
            env=_environ(NO_COLOR=variable),
            timeout=60,
        )
        assert (b"\x1b[32mgood" in os.read(ours, 1 << 16)) is coloured
    finally:
        os.close(ours)
        os.close(theirs)


class MetadataService(BaseHTTPRequestHandler):
    """Version 2 of the service: no answer without the token that it gave."""

    answer = "inf2.8xlarge"

    def do_PUT(self) -> None:
        self._say("t0ken" if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else "")

    def do_GET(self) -> None:
        allowed = self.headers["X-aws-ec2-metadata-token"] == "t0ken"
        self._say(self.answer if allowed and self.path == "/latest/meta-data/instance-type" else "<html> no")

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), MetadataService)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_metadata_service_settles_what_one_chip_cannot(tmp_path: Path, service: str) -> None:
    machine = NeuronMachine(tmp_path)
    machine.healthy("inf2.xlarge")
    machine.file("/sys/devices/virtual/dmi/id/product_name", "Not Specified\n")
    examination = examine(machine.host(), Subject(tmp_path, resource_path("pair"), service))
    assert next(one.found for one in examination.findings if one.name == "instance").startswith(
        "inf2.8xlarge"
    )


def test_no_service_is_no_answer(service: str) -> None:
    assert ask_instance_type(service) == "inf2.8xlarge"
    assert ask_instance_type(f"{service}/elsewhere") == ""
    assert ask_instance_type("http://127.0.0.1:9") == ""
