"""Where memory runs out, and what it costs: every phase, kind of error and precision.

    python tests/benchmarks/out_of_memory.py

A small network raises each of the errors that mean "out of memory" (torch's own, CUDA's, cuBLAS's,
cuDNN's, the host's, Apple's, Python's) whenever more than a few pictures come at once, at one
place: in the probe before the start, on the way forward or back in training, in the optimizer, in
`lr_find`, validation, predictions, test-time augmentation, or while features are computed once. It
runs undisturbed and disturbed. Printed for each: whether it came through with an incident, and the
largest difference of the two: of the losses of all steps in training and `lr_find`, of loss and
accuracy in validation, of the probabilities in predictions; after the probe, of the weights. Half
precisions are the CPU's own autocast, fp16 with a GradScaler, in the places in which fastai's
MixedPrecision has them; no GPU is needed.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
warnings.simplefilter("ignore")

import fastai.callback.schedule  # noqa: E402, F401
import torch  # noqa: E402
from fastai.callback.fp16 import MixedPrecision  # noqa: E402
from fastai.optimizer import Adam  # noqa: E402

from fastmagic.guard import attach, positions  # noqa: E402
from fastmagic.guard.session import Session  # noqa: E402
from fastmagic.lesson.forecast.trial import measure  # noqa: E402
from fastmagic.lesson.watched import additions  # noqa: E402
from fastmagic.progress import View  # noqa: E402
from tests.guard.test_steps import Room, errors, make_learner  # noqa: E402

PRECISIONS = ("fp32", "bf16", "fp16")
FITS = 5  # pictures at once, of the 16 in a batch


class OnCpu(MixedPrecision):
    """fastai's mixed precision, with the CPU's autocast and scaler in place of the GPU's."""

    def before_fit(self) -> None:
        super().before_fit()
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.amp_mode.value]
        self.autocast = torch.autocast("cpu", dtype=half)
        self.learn.scaler = torch.amp.GradScaler("cpu", enabled=half is torch.float16)


def probing(learn: Any, session: Session) -> list[float]:
    """Take the few steps that the estimate is made from; give the weights, which are as before."""
    learn.create_opt()
    trial, trouble = measure(learn)
    if trial is None:
        raise RuntimeError(trouble)
    session.incidents.append(trouble)  # it is an estimate with fewer pictures, and no incident
    return [float(v) for p in learn.model.parameters() for v in p.detach().flatten()]


def training(learn: Any, session: Session) -> list[float]:
    """Train two epochs; give the loss of each step."""
    learn.fit_one_cycle(2, 1e-2)
    return session.curve.loss


def finding(learn: Any, session: Session) -> list[float]:
    """Look for a rate; give the losses on the way."""
    learn.lr_find(show_plot=False, num_it=20)
    return [float(loss) for loss in learn.recorder.losses]


def validating(learn: Any, session: Session) -> list[float]:
    """Validate; give loss and accuracy."""
    return [float(value) for value in learn.validate()]


def predicting(learn: Any, session: Session) -> list[float]:
    """Predict; give all probabilities."""
    return learn.get_preds()[0].flatten().tolist()


def augmenting(learn: Any, session: Session) -> list[float]:
    """Predict with test-time augmentation; give all probabilities."""
    learn.dls.valid.dataset.set_split_idx = lambda _: contextlib.nullcontext()
    return learn.tta(n=2)[0].flatten().tolist()


def precomputing(learn: Any, session: Session) -> list[float]:
    """Train the head on features that are computed once; give the loss of each step."""
    learn.freeze()
    with learn.precomputed():
        learn.fit_one_cycle(2, 1e-2)
    return session.curve.loss


PHASES: dict[str, tuple[Callable[[Any, Session], list[float]], str]] = {
    "the probe before the start": (probing, "forward"),
    "training, forward": (training, "forward"),
    "training, backward": (training, "backward"),
    "training, optimizer": (training, "optimizer"),
    "lr_find": (finding, "forward"),
    "validation": (validating, "forward"),
    "predictions": (predicting, "forward"),
    "test-time augmentation": (augmenting, "forward"),
    "precomputed features": (precomputing, "forward"),
}


def halves(model: Any) -> list[Any]:
    """Split a network into its body's and its head's parameters."""
    return [list(part.parameters()) for part in model]


def run(
    folder: Path, phase: str, precision: str, error: Exception | None
) -> tuple[list[float], int]:
    """Run one phase, with the error or without; give its numbers, and how many incidents it had."""
    do, where = PHASES[phase]
    room = Room()
    if error is not None and where != "optimizer":
        room.most, room.error, room.only = FITS, error, where
    session = Session(7, View(), folder)
    with positions.kept_apart(), attach.attached(session, additions()):
        learn = make_learner(room, cbs=[] if precision == "fp32" else [OnCpu(precision)])
        learn.splitter = halves
        if where == "optimizer":
            learn.opt_func = functools.partial(failing_adam, error, [0])
        numbers = do(learn, session)
    return numbers, len(session.incidents)


def failing_adam(
    error: Exception | None, calls: list[int], params: Any, lr: Any, **given: Any
) -> Any:
    """Make an Adam that runs out of memory in some updates, half done."""

    def sometimes(p: Any, lr: Any, **_: Any) -> None:
        calls[0] += 1
        if error is not None and calls[0] % 7 == 3:
            p.data.add_(1.0)
            raise error.with_traceback(None)

    optimizer = Adam(params, lr, **given)
    optimizer.cbs.append(sometimes)
    return optimizer


def cell(folder: Path, phase: str, precision: str, error: Exception) -> str:
    """Say what came of one phase with one error."""
    whole, _ = run(folder / "whole", phase, precision, None)
    try:
        parted, incidents = run(folder / "parted", phase, precision, error)
    except Exception as trouble:
        return f"FAILED: {type(trouble).__name__}"
    if not incidents or len(whole) != len(parted):
        return "FAILED: no incident" if not incidents else "FAILED: another length"
    apart = max(abs(a - b) for a, b in zip(whole, parted, strict=True))
    return f"yes, {apart:.0e}" if apart else "yes, 0"


def main() -> None:
    """Print the table, a row for each phase and error."""
    print(f"| phase | error | {' | '.join(PRECISIONS)} |\n|" + "---|" * (2 + len(PRECISIONS)))
    tried = came = 0
    for phase in PHASES:
        for kind, error in errors().items():
            with tempfile.TemporaryDirectory() as folder:
                cells = [cell(Path(folder) / p, phase, p, error) for p in PRECISIONS]
            tried += len(cells)
            came += sum(one.startswith("yes") for one in cells)
            print(f"| {phase} | {kind} | {' | '.join(cells)} |", flush=True)
    print(f"\n{came} of {tried} came through")


if __name__ == "__main__":
    main()
