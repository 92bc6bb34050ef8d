"""What is measured: the mock upstream itself, nginx in front of it, ocproxy in front of it in both journal modes.

Each target is started fresh for each load and ended after it, so that none works off its backlog under another's load.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.tools import processes
from ocproxy.config import Journal, Upstream
from ocproxy.relay.settings import WorkerSettings

READY_SECONDS = 30.0  # ocproxy needs about a second, most of it for the database; a busy machine takes longer
POLL_SECONDS = 0.005
ROOT = Path(__file__).parents[2]
COMPILED = ROOT / ".compiled"  # what the wheel holds, the relay compiled (made by make)
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 16384; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 256k; keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 2000; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


class NotReady(Exception):
    """A target did not serve. `str()` has the end of its output."""


@dataclass
class Bed:
    """Where targets run: a folder, the port of the mock upstream, CPUs for the target and for the load."""

    folder: Path
    upstream: int
    target_cpus: set[int]
    load_cpus: set[int]


@dataclass
class Running:
    """A target at work. `workers` are compared with each other; `others` are the rest of its processes."""

    port: int
    start_seconds: float = 0.0
    workers: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


class Direct:
    """No proxy: what the load generator and the mock upstream cost by themselves."""

    name = "direct"

    @contextmanager
    def run(self, bed: Bed) -> Iterator[Running]:
        yield Running(bed.upstream)


class Nginx:
    """One worker, unbuffered, connections to the upstream kept: a fair peer. It records nothing."""

    name = "nginx"

    @contextmanager
    def run(self, bed: Bed) -> Iterator[Running]:
        port = free_port()
        folder = fresh(bed.folder / self.name)
        user = "user root;" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, user=user, upstream=bed.upstream, port=port))
        command = [shutil.which("nginx", path=SEARCH) or "nginx", "-p", str(folder), "-c", str(config)]
        with serving(command, port, bed, folder) as (seconds, pids):
            yield Running(port, seconds, pids)


class Ocproxy:
    """`ocproxy serve` with one relay worker, which stays on the target's CPU and is what nginx is compared with.

    The control process reads the journal and fills the database. No call waits for it, but a load of thousands of calls
    a second keeps it busy, and with two CPUs it would do that at the expense of the load generator, or of the relay:
    then neither of the two is measured. So it is stopped (SIGSTOP) while the load is on; the journal fills, as always
    when control is away. With `ingest` it runs, on the load's CPU, when the load leaves time there.
    """

    def __init__(self, mode: str, *, ingest: bool = False) -> None:
        self.name = f"ocproxy {mode}" + (" + ingest" if ingest else "")
        self.mode = mode
        self.ingest = ingest

    @contextmanager
    def run(self, bed: Bed) -> Iterator[Running]:
        port = free_port()
        folder = fresh(bed.folder / self.name.replace(" ", "-"))
        (folder / "empty.toml").touch()
        given = ["--data-dir", str(folder / "data"), "--config", str(folder / "empty.toml")]
        upstream = f"anthropic=http://127.0.0.1:{bed.upstream}"
        command = [sys.executable, "-m", "ocproxy", *given, "serve", "--port", str(port)]
        with serving([*command, "--journal-mode", self.mode, "--upstream", upstream], port, bed, folder) as found:
            seconds, pids = found
            workers = [pid for pid in pids if "ocproxy.relay" in processes.command(pid)]
            others = [pid for pid in pids if pid not in workers]
            for pid in others:
                processes.pin(pid, bed.load_cpus)
                if self.ingest:
                    processes.give_way(pid)
                elif "ocproxy.control" in processes.command(pid):
                    os.kill(pid, signal.SIGSTOP)
            yield Running(port, seconds, workers, others)


class Worker:
    """The relay worker alone, without supervisor and control process: for profiling."""

    def __init__(self, mode: str) -> None:
        self.name = f"worker {mode}"
        self.mode = mode

    @contextmanager
    def run(self, bed: Bed) -> Iterator[Running]:
        port = free_port()
        folder = fresh(bed.folder / self.name.replace(" ", "-"))
        settings = WorkerSettings(
            host="127.0.0.1",
            port=port,
            journal_folder=str(folder / "journal"),
            redaction_key=bytes(32),
            upstreams={"anthropic": Upstream(url=f"http://127.0.0.1:{bed.upstream}")},
            default_upstream="anthropic",
            journal=Journal(mode="strict" if self.mode == "strict" else "normal"),
        )
        told = folder / "settings"
        told.write_bytes(settings.encode())
        with serving([sys.executable, "-m", "ocproxy.relay"], port, bed, folder, told) as (seconds, pids):
            yield Running(port, seconds, pids)


Target = Direct | Nginx | Ocproxy | Worker
# Debian keeps nginx where a user's PATH does not look.
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def find_nginx() -> bool:
    """Whether there is an nginx; installs Debian's when we may."""
    if shutil.which("nginx", path=SEARCH):
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    # RUNLEVEL: the package must not start its service.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for words in (["install", "-y", "nginx-light"], ["update"], ["install", "-y", "nginx-light"]):
        subprocess.run(["apt-get", "-qq", *words], env=environment, capture_output=True, timeout=120, check=False)
        if shutil.which("nginx", path=SEARCH):
            return True
    return False


@contextmanager
def serving(
    command: list[str], port: int, bed: Bed, folder: Path, settings: Path = Path(os.devnull)
) -> Iterator[tuple[float, list[int]]]:
    """Start `command`; yields the seconds to its first served request and its processes; ends them and their files."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OCPROXY_")}
    if (COMPILED / "installed").exists():
        environment["PYTHONPATH"] = str(COMPILED)
    log = folder / "log"
    with log.open("wb") as output, settings.open("rb") as told:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=told, stdout=output, stderr=output, env=environment, cwd=folder)
        processes.pin(process.pid, bed.target_cpus)
    pids = [process.pid]
    try:
        while not serves(port):
            if process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                raise NotReady(f"{' '.join(command)}\n{log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - began
        pids = processes.tree(process.pid)
        yield seconds, pids
    finally:
        # At once: draining would take in the backlog of a load that no user makes.
        processes.kill(pids if len(pids) > 1 else processes.tree(process.pid))
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def relay_form() -> str:
    """Which form of the relay is measured, in words."""
    made = COMPILED / "installed"
    if not made.exists():
        return "relay interpreted (`make .compiled/installed` compiles it, as in the wheel)"
    newest = max(path.stat().st_mtime for path in (ROOT / "ocproxy").rglob("*.py"))
    old = "; OLDER THAN THE SOURCES, make it anew" if newest > made.stat().st_mtime else ""
    return f"relay compiled by mypyc, as in the wheel{old}"


def serves(port: int) -> bool:
    """Whether a request through this port is answered by the mock upstream."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/v1/messages", body=b"{}", headers={"Content-Type": "application/json"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
