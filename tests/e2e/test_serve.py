"""A running server: what it answers, what a death costs, what is left when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ocproxy import instance
from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Script, Step
from tests.support.provider import provider_in_background, wait_until
from tests.support.recorder import Recorder

HELLO = Script("hello", (Step(text="Good day."),))


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_in_background([HELLO]) as one:
        yield one


@pytest.fixture
def recorder(tmp_path: Path, provider: Provider) -> Recorder:
    return Recorder(tmp_path / "recorder" / "data", provider.url)


def say_hello(url: str, text: str = "hello") -> httpx.Response:
    body = {"model": "claude-test", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{url}/v1/messages", json=body, headers={"x-api-key": "k"}, trust_env=False, timeout=20)


def test_a_call_is_forwarded_and_then_known(recorder: Recorder) -> None:
    with recorder.serving():
        assert httpx.get(f"{recorder.url}/healthz", trust_env=False).status_code == 200
        assert say_hello(f"{recorder.url}/run/first").json()["content"][0]["text"] == "Good day."
        recorder.flush()
        (call,) = recorder.ask("calls")
        assert (call["run"], call["status"], call["outcome"]) == ("first", 200, "complete")


def test_the_api_answers_through_the_public_port_what_the_commands_answer(recorder: Recorder) -> None:
    with recorder.serving():
        say_hello(recorder.url)
        recorder.flush()
        with httpx.Client(base_url=recorder.url, trust_env=False, timeout=20) as api:
            sessions = api.get("/api/sessions").json()
            assert sessions == recorder.ask("sessions") and len(sessions) == 1
            id = sessions[0]["id"]
            assert api.get(f"/api/sessions/{id}").json() == recorder.ask("show", id)
            assert api.get("/api/files").json() == recorder.ask("files")
            assert api.get("/api/sessions/zzz").status_code == 404
            assert api.get("/api/sessions?limit=x").status_code == 400
            assert api.get("/api/nothing").status_code == 404
            status = api.get("/api/status").json()
            assert status["problems"] == [] and status["ingest"] == {"trouble": None, "since": None}
            assert "ANTHROPIC_BASE_URL" in api.get("/").text
        assert len(recorder.ask("calls")) == 1, "what is asked of ocproxy itself is not recorded"


def test_a_page_that_rebinds_its_name_to_us_is_refused(recorder: Recorder) -> None:
    with recorder.serving():
        answer = httpx.get(f"{recorder.url}/api/sessions", headers={"host": "evil.example"}, trust_env=False)
        assert answer.status_code == 403


def test_the_token_is_asked_of_the_api_and_not_of_agents(recorder: Recorder) -> None:
    recorder.settings = "server.token = 't0ken'\n"
    with recorder.serving():
        assert say_hello(recorder.url).status_code == 200
        assert httpx.get(f"{recorder.url}/api/sessions", trust_env=False).status_code == 401
        right = {"authorization": "Bearer t0ken"}
        assert httpx.get(f"{recorder.url}/api/sessions", headers=right, trust_env=False).status_code == 200
        assert recorder.ask("doctor")["problems"] == []


def test_doctor_is_content_with_a_healthy_server_and_says_when_there_is_none(recorder: Recorder) -> None:
    with recorder.serving():
        say_hello(recorder.url)
        recorder.flush()
        facts = recorder.ask("doctor")
        assert facts["problems"] == [] and facts["server"]["pid"] == recorder.processes()[0]
        assert [journal["behind_bytes"] for journal in facts["journals"]] == [0]
        assert "all is well" in recorder.run("doctor")
    assert recorder.ask("doctor")["server"] is None


def test_a_second_server_in_the_same_folder_is_told_where_the_first_is(recorder: Recorder) -> None:
    with recorder.serving():
        second = subprocess.run(recorder._command("serve", "--port", "0"), capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert recorder.url in second.stderr and "--data-dir" in second.stderr and "Traceback" not in second.stderr


def test_a_second_server_on_the_same_port_is_refused(recorder: Recorder, tmp_path: Path) -> None:
    with recorder.serving():
        port = str(urlsplit(recorder.url).port)
        other = Recorder(tmp_path / "other" / "data", recorder.upstream)
        other.data.mkdir(parents=True)
        command = other._command("serve", "--port", port)
        second = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert second.returncode == 1 and f"port {port}" in second.stderr


def test_the_death_of_the_control_process_costs_nothing(recorder: Recorder) -> None:
    with recorder.serving():
        (control,) = recorder.processes("ocproxy.control")
        os.kill(control, signal.SIGKILL)
        assert say_hello(recorder.url).status_code == 200
        wait_until(lambda: recorder.processes("ocproxy.control") not in ([], [control]), "control runs again")
        recorder.flush()
        assert len(recorder.ask("calls")) == 1
        assert "was killed by SIGKILL" in recorder.run("doctor", code=1)


def test_the_death_of_a_relay_costs_its_streams_only(recorder: Recorder) -> None:
    with recorder.serving():
        url = recorder.url
        (relay,) = recorder.processes("ocproxy.relay")
        os.kill(relay, signal.SIGKILL)
        wait_until(lambda: recorder.processes("ocproxy.relay") not in ([], [relay]), "the relay runs again")
        wait_until(lambda: _answers(url), "the new relay answers on the same port")
        assert say_hello(url).status_code == 200
        recorder.flush()
        assert len(recorder.ask("calls")) == 1


def test_kill_9_of_the_supervisor_leaves_no_orphans_and_the_next_server_starts(recorder: Recorder) -> None:
    recorder.start()
    with recorder.serving_later():
        say_hello(recorder.url)
        port = urlsplit(recorder.url).port or 0
        processes = recorder.processes()
        assert len(processes) == 3
        os.kill(processes[0], signal.SIGKILL)
        assert recorder.process is not None
        recorder.process.wait(20)
        wait_until(lambda: not any(map(_alive, processes)), "all children have gone")
        recorder.start(port)
        say_hello(recorder.url)
        recorder.flush()
        assert len(recorder.ask("calls")) == 2


def test_several_workers_share_the_port_and_each_has_its_journal(recorder: Recorder) -> None:
    recorder.arguments = ("--workers", "2")
    with recorder.serving():
        for number in range(20):  # the kernel deals connections out by their address
            assert say_hello(recorder.url, f"hello {number}").status_code == 200
        recorder.flush()
        assert len(recorder.ask("calls")) == 20
        assert len(recorder.ask("doctor")["journals"]) == 2


def test_an_open_stream_may_end_after_sigterm_and_is_stored(tmp_path: Path) -> None:
    slow = Script("slow", (Step(text="word " * 100),))
    with provider_in_background([slow], pace=0.01) as provider:
        recorder = Recorder(tmp_path / "recorder" / "data", provider.url)
        recorder.start()
        began = threading.Event()
        body = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "go"}]}
        received = b""
        with recorder.serving_later():
            with httpx.stream("POST", f"{recorder.url}/v1/messages", json=body, trust_env=False, timeout=30) as answer:
                for piece in answer.iter_raw():
                    received += piece
                    if not began.is_set():
                        began.set()
                        assert recorder.process is not None
                        recorder.process.send_signal(signal.SIGTERM)
            assert b"message_stop" in received
            assert recorder.process is not None
            recorder.process.wait(30)  # a second SIGTERM would end it at once
        (call,) = recorder.ask("calls")
        assert call["outcome"] == "complete"


def test_flush_without_a_server_stores_and_with_a_dead_one_too(recorder: Recorder) -> None:
    recorder.start()
    with recorder.serving_later():
        say_hello(recorder.url)
        recorder.kill()
    assert recorder.run("flush", "--timeout", "30") == ""
    assert len(recorder.ask("calls")) == 1
    assert instance.running(recorder.data) is None


def test_tail_tells_what_happens_while_it_happens(recorder: Recorder) -> None:
    with recorder.serving():
        command = recorder._command("tail", "--all", "--json")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tail:
            assert tail.stdout is not None
            say_hello(recorder.url)
            seen = [json.loads(tail.stdout.readline())]
            while seen[-1]["what"] != "call":
                seen.append(json.loads(tail.stdout.readline()))
            tail.send_signal(signal.SIGINT)
            assert tail.wait(20) == 0
        roles = [row["role"] for row in seen if row["what"] == "message"]
        assert roles == ["user", "assistant"]


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), 5):
            return True
    except OSError:
        return False


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
