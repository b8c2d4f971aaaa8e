from __future__ import annotations

import time

import pytest

from fastmagic.environment.restart import restart_kernel

jupyter_client = pytest.importorskip("jupyter_client", reason="comes with the extra [test]")


def test_a_terminal_and_a_script_have_nobody_who_would_start_again(shell):
    assert restart_kernel(shell) is False


def test_a_kernel_ends_after_the_cell_and_its_front_end_may_start_another(tmp_path):
    manager, client = jupyter_client.manager.start_new_kernel(cwd=str(tmp_path))
    try:
        code = (
            "from fastmagic.environment.restart import restart_kernel\n"
            "print('will restart:', restart_kernel())"
        )
        heard = []
        client.execute_interactive(code, timeout=60, output_hook=heard.append)
        said = "".join(m["content"].get("text", "") for m in heard)
        assert "will restart: True" in said
        until = time.monotonic() + 20
        while manager.is_alive() and time.monotonic() < until:
            time.sleep(0.1)
        assert not manager.is_alive()
        manager.restart_kernel(now=True)  # what a front end does when its kernel has ended
        client.wait_for_ready(timeout=60)
        client.execute_interactive("assert 'restart_kernel' not in globals()", timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
