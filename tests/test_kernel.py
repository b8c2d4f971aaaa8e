"""The magics in a real Jupyter kernel, over the wire, as a notebook's front end sees them."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.train

jupyter_client = pytest.importorskip("jupyter_client", reason="comes with the extra [test]")

LESSON = "--data {folder} --arch squeezenet1_1 --weights none --size 32 --bs 16 --workers 0"


class Kernel:
    """A running kernel, and what it sends back."""

    def __init__(self, work) -> None:
        self.manager, self.client = jupyter_client.manager.start_new_kernel(
            kernel_name="python3", cwd=str(work)
        )

    def send(self, code: str) -> str:
        return self.client.execute(code)

    def wait(self, sent: str, seconds: float = 120) -> tuple[str, list[dict]]:
        """Give the reply's status and the messages that came before it."""
        messages = []
        while True:
            message = self.client.get_iopub_msg(timeout=seconds)
            if message["parent_header"].get("msg_id") != sent:
                continue
            messages.append({"type": message["msg_type"], **message["content"]})
            if messages[-1].get("execution_state") == "idle":
                reply = self.client.get_shell_msg(timeout=seconds)
                return reply["content"]["status"], messages

    def run(self, code: str, seconds: float = 120) -> tuple[str, list[dict]]:
        status, messages = self.wait(self.send(code), seconds)
        while status == "aborted":  # for a moment after an error a kernel drops what comes in
            time.sleep(0.2)
            status, messages = self.wait(self.send(code), seconds)
        return status, messages

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path):
    running = Kernel(tmp_path)
    try:
        assert running.run("%load_ext fastmagic")[0] == "ok"
        yield running
    finally:
        running.close()


def of_kind(messages: list[dict], *kinds: str) -> list[dict]:
    return [message for message in messages if message["type"] in kinds]


def test_each_magic_leaves_one_output_that_is_the_result(kernel, small_folder):
    for code in (
        "%gpu_check --no-probe",
        "%gpu_check --no-probe;",
        "x = %gpu_check --no-probe",
        f'%get_data "{small_folder}"',
        "%%train_lesson1 --recipe modern " + LESSON.format(folder=small_folder),
    ):
        status, messages = kernel.run(code)
        assert status == "ok", messages
        shown = of_kind(messages, "display_data")
        assert len(shown) == 1, code
        assert not of_kind(messages, "execute_result", "stream"), code
        final = (of_kind(messages, "update_display_data") or shown)[-1]
        assert set(final["data"]) == {"text/plain", "text/html"}


def test_tab_and_help_ask_the_kernel(kernel):
    """Every notebook's front end, Colab's among them, asks it by `do_complete`."""
    for line, becomes in (
        ("%get_data samp", "%get_data sample"),
        ("%train_lesson1 --recipe q", "%train_lesson1 --recipe quick"),
        ("%%train_lesson1 --rec", "%%train_lesson1 --recipe"),
    ):
        found = kernel.client.complete(line, len(line), reply=True, timeout=60)["content"]
        begin, end = found["cursor_start"], found["cursor_end"]
        assert becomes in [line[:begin] + match + line[end:] for match in found["matches"]]
    for magic in ("%gpu_check", "%fastai_setup", "%get_data", "%train_lesson1"):
        told = kernel.client.inspect(magic, len(magic), reply=True, timeout=60)["content"]
        assert told["found"]
        assert magic in told["data"]["text/plain"]


def test_an_error_is_short_red_and_stops_run_all(kernel):
    status, messages = kernel.run("%get_data dogcats")
    assert status == "error"
    (error,) = of_kind(messages, "error")
    assert error["ename"] == "BadInput"
    assert len(error["traceback"]) <= 3
    assert "Did you mean" in error["evalue"]


def test_an_error_in_the_body_has_its_own_name_and_the_persons_line(kernel, small_folder):
    magic = "%%train_lesson1 " + LESSON.format(folder=small_folder)
    status, messages = kernel.run(f"{magic}\nx = 1\nlern.fit(1)")
    assert status == "error"
    (error,) = of_kind(messages, "error")
    assert error["ename"] == "NameError"
    assert "-->    3 lern.fit(1)" in error["traceback"]
    assert not any("fastmagic/" in line for line in error["traceback"])
    assert kernel.run("assert x == 1")[0] == "ok"


def test_the_last_expression_is_displayed_and_ipythons_syntax_works(kernel, small_folder):
    magic = "%%train_lesson1 " + LESSON.format(folder=small_folder)
    status, messages = kernel.run(f"{magic}\nwhere = %pwd\n!echo hello from the shell\n6 * 7")
    assert status == "ok", messages
    assert any("hello from the shell" in m["text"] for m in of_kind(messages, "stream"))
    assert any(m["data"]["text/plain"] == "42" for m in of_kind(messages, "display_data"))
    assert kernel.run("assert len(where) > 1")[0] == "ok"


def test_the_stop_button_ends_a_lesson_and_the_same_cell_goes_on(kernel, small_folder):
    magic = "%%train_lesson1 " + LESSON.format(folder=small_folder)
    cell = f"{magic}\nlearn.fit(limit)\nlearn.fit(1)"
    kernel.run("limit = 400")
    sent = kernel.send(cell)
    deadline = time.monotonic() + 100
    while "fit 1, epoch 3" not in str(kernel.client.get_iopub_msg(timeout=100)["content"]):
        assert time.monotonic() < deadline
    kernel.manager.interrupt_kernel()
    pressed = time.monotonic()
    status, messages = kernel.wait(sent)
    assert time.monotonic() - pressed < 10
    assert status == "error"
    (error,) = of_kind(messages, "error")
    assert error["ename"] == "Stopped"
    assert "Run the same cell again" in error["evalue"]
    assert kernel.run("learn.predict(dls.valid_ds.items[0])")[0] == "ok"

    sent = kernel.send(cell)
    seen = ""
    while "fit 1: goes on" not in seen:
        seen += str(kernel.client.get_iopub_msg(timeout=100)["content"])
    kernel.manager.interrupt_kernel()
    kernel.wait(sent)
    assert "Going on with" in seen
