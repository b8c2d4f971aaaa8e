"""Everything that a fit needs to go on from between two steps, as plain values and tensors.

Weights and buffers, the optimizer, the loss scaler of half precision, gradients (fastai updates all
parameters that have one, be it zero, and whoever accumulates has others), the recorder's curves and
its running averages, how far the schedule is, what callbacks have in their attributes (the best
loss so far, a list of losses), and what recurrent networks remember. No random state: that follows
from the position. What is taken is copied, so training may go on while it is written.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fastmagic.guard import files, held, losses
from fastmagic.guard.stages import Stage, figure, from_plain, to_whole


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
        digest.update(_little_endian(tensor))
    return digest.hexdigest()


def _little_endian(tensor: Any) -> Any:
    """Give the bytes of a tensor's values; they are not copied where they lie so already."""
    import torch

    array = tensor.reshape(-1).view(torch.uint8).numpy()
    width = tensor.element_size()
    if sys.byteorder == "big" and width > 1:
        return array.reshape(-1, width)[:, ::-1].tobytes()
    return array


def take(
    learner: Any, stage: Stage, step: int, seconds: float, validated: str = ""
) -> dict[str, Any]:
    """Copy what is needed to go on with this fit from here.

    Parameters
    ----------
    learner
        fastai's learner, between two steps.
    stage
        The fit, with the epochs that are done.
    step
        How many steps of the epoch after those are done.
    seconds
        How long these took.
    validated
        The digest of the weights that the last epoch was validated with.
    """
    progress = {
        "step": step,
        "seconds": seconds,
        "pct_train": float(learner.pct_train),
        "train_iter": int(learner.train_iter),
    }
    scaler = getattr(learner, "scaler", None)
    return {
        "stage": json.dumps(to_whole(stage)),
        "validated": validated,
        "curves": json.dumps(_curves(learner)),
        "progress": json.dumps(progress),
        "made_on": json.dumps(made_on(learner)),
        "model": _copied(learner.model.state_dict()),
        "opt": _copied(learner.opt.state_dict()),
        "scaler": None if scaler is None else _copied(scaler.state_dict()),
        "grads": _gradients(learner),
        "callbacks": {k: held.of_callback(one, learner.model) for k, one in _callbacks(learner)},
        "modules": held.of_modules(learner.model),
        "loss": losses.held_by(learner),
        "meters": [_numbers(one) for one in _meters(learner)],
    }


def recorder_of(learner: Any) -> Any:
    """Give fastai's Recorder, or None where the person has removed it."""
    return getattr(learner, "recorder", None)


def _curves(learner: Any) -> dict[str, Any]:
    recorder = recorder_of(learner)
    if recorder is None:
        return {"lrs": [], "losses": []}
    return {
        "lrs": [float(v) for v in recorder.lrs],
        "losses": [float(v) for v in recorder.losses],
        "iters": [int(v) for v in recorder.iters],
        "values": [[figure(v) for v in row] for row in recorder.values],
        "names": [str(name) for name in recorder.metric_names],
        "hps": _figures(getattr(recorder, "hps", {})),
        "schedules": [_figures(one.hps) for one in _schedules(learner)],
    }


def _figures(curves: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    return {str(name): [figure(v) for v in values] for name, values in curves.items()}


def _schedules(learner: Any) -> list[Any]:
    """List the callbacks that hand their curves to the recorder when the fit ends."""
    from fastai.callback.schedule import ParamScheduler

    return [
        one for one in _present(learner) if isinstance(one, ParamScheduler) and "hps" in vars(one)
    ]


def read(folder: Path, name: str, device: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """Read what `take` gave for a fit; None where nothing usable is there.

    Returns
    -------
    content, damaged
        The content, and the names of newer files that are damaged.
    """
    content, damaged = files.read(folder, name, device)
    try:
        if content is not None:
            content["stage"] = from_plain(json.loads(content["stage"]))
            for key in ("curves", "progress", "made_on"):
                content[key] = json.loads(content[key])
    except (KeyError, TypeError, ValueError):
        return None, [*damaged, name]
    return content, damaged


def fits(learner: Any, content: Mapping[str, Any]) -> bool:
    """Say whether a state is of this network: names, shapes, and the optimizer's groups."""
    own = {k: tuple(getattr(v, "shape", ())) for k, v in learner.model.state_dict().items()}
    saved = {k: tuple(getattr(v, "shape", ())) for k, v in content["model"].items()}
    groups = len(content["opt"].get("hypers", learner.opt.hypers))
    return own == saved and groups == len(learner.opt.hypers)


def put_back(learner: Any, content: Mapping[str, Any]) -> None:
    """Give the learner the weights and the optimizer of a saved state.

    Raises
    ------
    RuntimeError, AssertionError
        Where the network or its optimizer has other names or shapes than the saved ones.
    """
    learner.model.load_state_dict(content["model"])
    learner.opt.load_state_dict(_optimizer(content["opt"]))
    put_curves_back(learner, content)


def put_curves_back(learner: Any, content: Mapping[str, Any]) -> None:
    """Give back what a fit's start sets anew: curves and numbers, the optimizer's rates."""
    _put_recorder_back(learner, content["curves"])
    put_meters_back(learner, content)
    _put_rates_back(learner.opt, content["opt"])
    if content["scaler"] and getattr(learner, "scaler", None) is not None:  # {} where it was off
        learner.scaler.load_state_dict(content["scaler"])


def _put_recorder_back(learner: Any, curves: Mapping[str, Any]) -> None:
    from fastcore.foundation import L

    recorder = recorder_of(learner)
    if recorder is None or "values" not in curves:
        return
    recorder.lrs, recorder.losses = list(curves["lrs"]), list(curves["losses"])
    recorder.iters = list(curves["iters"])
    recorder.values = [L(row) for row in curves["values"]]
    recorder.metric_names = L(curves["names"])
    learner.final_record = recorder.values[-1] if recorder.values else L()
    if curves.get("hps"):
        recorder.hps = {name: list(values) for name, values in curves["hps"].items()}
    for one, kept in zip(_schedules(learner), curves.get("schedules", ()), strict=False):
        one.hps = {name: list(values) for name, values in kept.items()}


def _put_rates_back(optimizer: Any, saved: Mapping[str, Any]) -> None:
    """Give the rates back: a callback may have changed them, ReduceLROnPlateau say."""
    for own, kept in zip(optimizer.hypers, saved.get("hypers", ()), strict=False):
        own.update(kept)
    groups = _optimizer(saved).get("param_groups", ())  # torch's
    for own, kept in zip(optimizer.opt.param_groups if groups else (), groups, strict=False):
        own.update({name: value for name, value in kept.items() if name != "params"})


def put_meters_back(learner: Any, content: Mapping[str, Any]) -> None:
    """Give back what an epoch's start sets anew: averages, and what callbacks and modules hold."""
    for meter, values in zip(_meters(learner), content["meters"], strict=False):
        vars(meter).update(_again(values))
    put_callbacks_back(learner, content)
    held.put_into_modules(learner.model, content.get("modules", {}))  # older versions kept none
    losses.put_back(learner, content.get("loss", {}))
    put_gradients_back(learner, content["grads"])


def put_callbacks_back(learner: Any, content: Mapping[str, Any]) -> None:
    """Give callbacks what they held."""
    for name, one in _callbacks(learner):
        held.put_back(one, content["callbacks"].get(name, {}))


def _gradients(learner: Any) -> list[Any]:
    """Copy each parameter's gradient: None for none, and True for zeros, which need no room."""
    known = getattr(getattr(learner, "watch", None), "zeroed", None)

    def kept(grad: Any) -> Any:
        if grad is None:
            return None
        zero = known is not None and known.holds(grad)
        return True if zero or not (grad.is_sparse or bool(grad.any())) else _copied(grad)

    return [kept(p.grad) for p in learner.model.parameters()]


def put_gradients_back(learner: Any, kept: Iterable[Any] | None) -> None:
    """Give parameters the gradients that they had; None, of an older version, changes nothing."""
    import torch

    for parameter, grad in zip(learner.model.parameters(), kept or (), strict=False):
        if isinstance(grad, torch.Tensor):
            grad = grad.to(parameter.device)
        parameter.grad = torch.zeros_like(parameter) if grad is True else grad


def made_on(learner: Any) -> dict[str, str]:
    """Say on what a state was computed: where this differs, going on is not bit for bit."""
    import fastai
    import torch

    device = next((p.device for p in learner.model.parameters()), torch.device("cpu"))
    where = platform.processor() or platform.machine()
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    return {
        "torch": torch.__version__,
        "fastai": fastai.__version__,
        "device": f"{device.type} ({where})",
        "threads": str(torch.get_num_threads()),
        "processes": str(_processes(learner)),
        "precision": str(getattr(getattr(learner, "mixed_precision", None), "amp_mode", "fp32")),
    }


def _processes(learner: Any) -> int:
    """Give how many processes share each batch."""
    session = getattr(getattr(learner, "watch", None), "session", None)
    return 1 if session is None else int(session.team.size)


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say in words what differs between two of what `made_on` gives; empty where nothing does.

    Examples
    --------
    >>> changes({"torch": "2.11.0", "threads": "2"}, {"torch": "2.15.0", "threads": "2"})
    'torch 2.11.0, now 2.15.0'
    """
    return "; ".join(
        f"{key} {before.get(key, 'unknown')}, now {value}"
        for key, value in now.items()
        if before.get(key) != value
    )


def save_start(folder: Path, name: str, learner: Any) -> None:
    """Keep a learner of an earlier cell as it is before this one trains it further.

    Raises
    ------
    OSError, RuntimeError
        Where it cannot be written.
    """
    optimizer = learner.opt
    content = {
        "model": _copied(learner.model.state_dict()),
        "opt": None if optimizer is None else _copied(optimizer.state_dict()),
        "grads": _gradients(learner),
        "frozen": [name for name, p in learner.model.named_parameters() if not p.requires_grad],
        "frozen_groups": None if optimizer is None else int(optimizer.frozen_idx),
    }
    files.write(folder, name, content, 1)


def put_start_back(folder: Path, name: str, learner: Any) -> bool:
    """Give a learner the state that `save_start` kept; False where it kept none.

    Raises
    ------
    ValueError
        Where it cannot be read, or is of another network.
    """
    content, damaged = files.read(folder, name)
    if content is None and not damaged:
        return False
    try:
        learner.model.load_state_dict(content["model"])
        frozen = set(content["frozen"])
        learner.opt = None
        if content["opt"] is not None:
            learner.create_opt()
            learner.opt.freeze_to(content["frozen_groups"])
            device = next(learner.model.parameters()).device
            learner.opt.load_state_dict(_optimizer(content["opt"], device))
        for key, parameter in learner.model.named_parameters():
            parameter.requires_grad_(key not in frozen)
        put_gradients_back(learner, content.get("grads"))
    except (KeyError, TypeError, RuntimeError, AssertionError) as error:
        raise ValueError(f"the state {name} cannot be read") from error
    return True


def _present(learner: Any) -> list[Any]:
    """List a learner's callbacks, also those that a fit was given: it is without them outside."""
    found = list(learner.cbs)
    for one in getattr(getattr(learner, "watch", None), "guests", ()):
        if not isinstance(one, type) and all(one is not other for other in found):
            found.append(one)
    return found


def _callbacks(learner: Any) -> Iterator[tuple[str, Any]]:
    """Give each callback that is not fastai's own bookkeeping or ours, with a name for it."""
    seen: dict[str, int] = {}
    for one in _present(learner):
        kind = type(one).__name__
        if kind in ("Watch", "Recorder", "TrainEvalCallback", "ParamScheduler"):
            continue
        seen[kind] = seen.get(kind, 0) + 1
        yield f"{kind}-{seen[kind]}", one


def _numbers(thing: Any) -> dict[str, Any]:
    """Give the attributes of an object that are numbers, words or tensors."""
    import torch

    found = {}
    for name, value in vars(thing).items():
        if type(value) in held.PLAIN:
            found[name] = value
        elif isinstance(value, torch.Tensor):
            found[name] = _copied(value)
        elif type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
            found[name] = value.item()
    return found


def _again(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy what is put back, which may be changed in its place and put back once more."""
    return {name: v.clone() if hasattr(v, "clone") else v for name, v in values.items()}


def _meters(learner: Any) -> list[Any]:
    recorder = recorder_of(learner)
    if recorder is None:
        return []
    return [recorder.smooth_loss, recorder.loss, *(recorder.metrics or ())]


def _optimizer(saved: Mapping[str, Any], device: Any = None) -> dict[str, Any]:
    """Give an optimizer's saved state the types that fastai's has, on a device."""
    import torch
    from fastcore.foundation import L

    optimizer = dict(saved)
    if "hypers" in optimizer:
        optimizer["hypers"] = L(dict(one) for one in optimizer["hypers"])
    if "param_groups" in optimizer:  # torch's own: what was a tuple, such as Adam's two averages
        optimizer["param_groups"] = [
            {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in one.items()}
            for one in optimizer["param_groups"]
        ]
    if device is not None and isinstance(optimizer.get("state"), list):  # torch moves its own
        optimizer["state"] = [
            {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in one.items()}
            for one in optimizer["state"]
        ]
    return optimizer


def _copied(value: Any) -> Any:
    """Copy to the host, in types that torch reads back without running code."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor).to("cpu", copy=True)
    if type(value) in held.PLAIN:
        return value  # not isinstance: numpy's floats are floats, and need unpickling all the same
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_copied(item) for item in value]
    return float(value)
