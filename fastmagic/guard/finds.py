"""What `lr_find` found, kept with the run: a run that goes on is given the same again."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

from fastmagic.guard import files


def take(learner: Any, suggested: Any) -> dict[str, str]:
    """Give what there is to keep: the suggestions by name, the curve, and of which network."""
    recorder = learner.recorder
    named = None if suggested is None else {k: float(v) for k, v in suggested._asdict().items()}
    curve = {name: [float(v) for v in getattr(recorder, name)] for name in ("lrs", "losses")}
    values = [[None if v is None else float(v) for v in row] for row in recorder.values]
    found = {"suggested": named, "values": values, "network": _network(learner), **curve}
    return {"found": json.dumps(found)}


def read(folder: Path, name: str, learner: Any) -> dict[str, Any] | None:
    """Read what was kept under a name; None where nothing was, or of another network."""
    content, _ = files.read(folder, name)
    try:
        found = None if content is None else dict(json.loads(content["found"]))
    except (KeyError, TypeError, ValueError):
        return None
    return found if found and found.get("network") == _network(learner) else None


def _network(learner: Any) -> list[list[Any]]:
    """Give the names and shapes of all weights."""
    return [[name, list(value.shape)] for name, value in learner.model.named_parameters()]


def give_again(
    recorder: Any,
    found: dict[str, Any],
    start_lr: Any = None,  # noqa: ARG001 - fastai's own parameters, in their order
    end_lr: Any = None,  # noqa: ARG001
    num_it: Any = None,  # noqa: ARG001
    stop_div: Any = None,  # noqa: ARG001
    show_plot: bool = True,
    suggest_funcs: Any = None,  # noqa: ARG001
) -> Any:
    """Give what fastai's `lr_find` gave, with the recorder's curve, and plot it where asked."""
    import torch
    from fastcore.foundation import L

    recorder.lrs = found["lrs"]
    recorder.values = [L(row) for row in found["values"]]
    recorder.losses = [torch.tensor(loss) for loss in found["losses"]]
    if show_plot:
        recorder.plot_lr_find()
    named = found["suggested"]
    return None if named is None else collections.namedtuple("SuggestedLRs", named)(**named)
