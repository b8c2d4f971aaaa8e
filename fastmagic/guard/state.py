"""The state of a stage on disk: written whole or not at all, read without unpickling code.

One file a stage, `stage-001.pt`, written after every epoch: the weights, the optimizer, the
recorder's curves and the stage's own record. It is written to a temporary file, synced, and then
renamed over the old one, so a kill at any moment leaves the old or the new state, never a half.
It is read with torch's `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastmagic.guard.stages import Stage, figure, from_plain, to_plain


def weights_sha256(state: Mapping[str, Any]) -> str:
    """Give the SHA-256 of a state dict in its canonical form.

    The canonical form is, for each tensor in the order of its sorted name: the name in UTF-8, the
    dtype's name (`float32`), the shape as decimal numbers joined by `x`, each followed by a zero
    byte, and then the values in row-major order, little-endian. Two networks have the same digest
    if and only if names, types, shapes and bits are equal, wherever and however they were stored.
    What is no tensor (a module's `get_extra_state`) is left out.

    Parameters
    ----------
    state
        What `model.state_dict()` gives: names to tensors, on any device.

    Examples
    --------
    >>> import torch
    >>> weights_sha256({"bias": torch.zeros(2)})[:8]
    'cee94ea0'
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(name for name, value in state.items() if isinstance(value, torch.Tensor)):
        tensor = state[name].detach().cpu().contiguous()
        shape = "x".join(str(n) for n in tensor.shape)
        kind = str(tensor.dtype).removeprefix("torch.")
        for text in (name, kind, shape):
            digest.update(text.encode() + b"\0")
        digest.update(_little_endian_bytes(tensor))
    return digest.hexdigest()


def _little_endian_bytes(tensor: Any) -> bytes:
    import torch

    array = tensor.reshape(-1).view(torch.uint8).numpy()
    width = tensor.element_size()
    if sys.byteorder == "big" and width > 1:
        array = array.reshape(-1, width)[:, ::-1]
    return bytes(array.tobytes())


def save_stage(folder: Path, learner: Any, stage: Stage) -> None:
    """Write what is needed to go on after this epoch of this stage.

    Raises
    ------
    OSError
        Where the disk is full or cannot be written; the state before stays as it was.
    """
    recorder = learner.recorder
    curves = {
        "lrs": [float(v) for v in recorder.lrs],
        "losses": [float(v) for v in recorder.losses],
        "iters": [int(v) for v in recorder.iters],
        "values": [[figure(v) for v in row] for row in recorder.values],
        "names": [str(name) for name in recorder.metric_names],
        "smooth": [int(recorder.smooth_loss.count), float(recorder.smooth_loss.val)],
    }
    content = {
        "stage": json.dumps(to_plain(stage)),
        "curves": json.dumps(curves),
        "model": learner.model.state_dict(),
        "opt": _plain(learner.opt.state_dict()),
    }
    _write(_file(folder, stage.number), content)


def load_stage(folder: Path, number: int, device: Any) -> dict[str, Any] | None:
    """Read what `save_stage` wrote for a stage; None where it wrote nothing.

    Raises
    ------
    ValueError
        Where the file is there but cannot be read.
    """
    import torch

    try:
        content = torch.load(_file(folder, number), map_location=device, weights_only=True)
        content["stage"] = from_plain(json.loads(content["stage"]))
        content["curves"] = json.loads(content["curves"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # torch raises half a dozen kinds for a truncated or foreign file
        raise ValueError(f"{_file(folder, number).name} cannot be read") from error
    return dict(content)


def put_back(learner: Any, content: Mapping[str, Any]) -> None:
    """Give the learner the weights, the optimizer and the curves of a saved state.

    Raises
    ------
    RuntimeError, AssertionError
        Where the network or its optimizer has other names or shapes than the saved ones.
    """
    learner.model.load_state_dict(content["model"])
    learner.opt.load_state_dict(_optimizer(content["opt"]))
    put_curves_back(learner, content["curves"])


def put_curves_back(learner: Any, curves: Mapping[str, Any]) -> None:
    """Give the learner's recorder the curves of the epochs before a restart."""
    import torch
    from fastcore.foundation import L

    recorder = learner.recorder
    recorder.lrs, recorder.losses = curves["lrs"], curves["losses"]
    recorder.iters = curves["iters"]
    recorder.values = [L(row) for row in curves["values"]]
    recorder.metric_names = L(curves["names"])
    count, value = curves["smooth"]
    recorder.smooth_loss.count, recorder.smooth_loss.val = count, torch.tensor(value)
    learner.final_record = recorder.values[-1] if recorder.values else L()


def save_start(file: Path, learner: Any) -> None:
    """Keep a learner of an earlier cell as it is before this one trains it further.

    Raises
    ------
    OSError, RuntimeError
        Where it cannot be written.
    """
    optimizer = learner.opt
    content = {
        "model": learner.model.state_dict(),
        "opt": None if optimizer is None else _plain(optimizer.state_dict()),
        "frozen": [name for name, p in learner.model.named_parameters() if not p.requires_grad],
        "frozen_groups": None if optimizer is None else int(optimizer.frozen_idx),
    }
    _write(file, content)


def put_start_back(file: Path, learner: Any) -> None:
    """Give a learner the state that `save_start` kept.

    Raises
    ------
    ValueError
        Where the file cannot be read, or is of another network.
    """
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        learner.model.load_state_dict(content["model"])
        frozen = set(content["frozen"])
        learner.opt = None
        if content["opt"] is not None:
            learner.create_opt()
            learner.opt.freeze_to(content["frozen_groups"])
            device = next(learner.model.parameters()).device
            learner.opt.load_state_dict(_optimizer(content["opt"], device))
        for name, parameter in learner.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
    except Exception as error:  # torch raises half a dozen kinds for a truncated or foreign file
        raise ValueError(f"{file.name} cannot be read") from error


def _write(file: Path, content: Any) -> None:
    """Write a state whole or not at all."""
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)


def _optimizer(saved: Mapping[str, Any], device: Any = None) -> dict[str, Any]:
    """Give an optimizer's saved state the types that fastai's has, on a device."""
    import torch
    from fastcore.foundation import L

    optimizer = dict(saved)
    if "hypers" in optimizer:
        optimizer["hypers"] = L(optimizer["hypers"])
    if device is not None and "state" in optimizer:
        optimizer["state"] = [
            {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in one.items()}
            for one in optimizer["state"]
        ]
    return optimizer


def _file(folder: Path, number: int) -> Path:
    return folder / f"stage-{number:03d}.pt"


def _plain(value: Any) -> Any:
    """Turn an optimizer's state into types that torch reads back without unpickling code."""
    import torch

    if isinstance(value, torch.Tensor) or type(value) in (bool, int, float, str, type(None)):
        return value  # not isinstance: numpy's floats are floats, and need unpickling all the same
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return float(value)
