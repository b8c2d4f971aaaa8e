"""Look at what a network gets right, what it gets wrong, and what it is not sure of."""

import random
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

MOST_CLASSES = 4


def show_rights_and_wrongs(learn: Any, n: int = 4) -> None:
    """Show validation pictures, `n` of each kind, as the 2018 lesson does.

    Some that it has right and some that it has wrong, by chance; for the first four classes those
    that it has most right and most wrong; and those that it is least certain of.
    """
    predictions, targets = one_class_each(learn)
    rows = kinds_of_pictures(predictions, targets, list(learn.dls.vocab), n)
    heights = [3.4 if len(chosen) else 0.4 for _, chosen in rows]
    figure = plt.figure(figsize=(3 * n, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, height_ratios=heights)
    for (heading, chosen), row in zip(rows, parts, strict=True):
        row.suptitle(heading if len(chosen) else f"{heading}: there are none")
        axes = row.subplots(1, n, squeeze=False)[0] if len(chosen) else []
        for axis in axes:
            axis.axis("off")
        for axis, number in zip(axes, chosen, strict=False):
            title = in_words(predictions[number], targets[number], learn.dls.vocab)
            learn.dls.valid_ds[int(number)][0].show(ctx=axis, title=title)


def one_class_each(learn: Any) -> Any:
    """Give what the network says of the validation pictures, and what they are."""
    predictions, targets = (np.asarray(values) for values in learn.get_preds())
    if predictions.ndim != 2 or targets.ndim != 1 or targets.dtype.kind != "i":
        raise ValueError("This needs a network that gives each picture one of several classes.")
    return predictions, targets


def kinds_of_pictures(predictions: Any, targets: Any, vocab: list[str], n: int) -> list[Any]:
    """Choose the pictures of each row: its heading, and the pictures' numbers."""
    answers, sureness = predictions.argmax(axis=1), predictions.max(axis=1)
    right, wrong = np.flatnonzero(answers == targets), np.flatnonzero(answers != targets)
    rows: list[Any] = []
    for heading, numbers in (("Right, by chance", right), ("Wrong, by chance", wrong)):
        rows.append((heading, random.sample(list(numbers), min(n, len(numbers)))))
    for which, name in enumerate(vocab[:MOST_CLASSES]):
        rights, wrongs = right[targets[right] == which], wrong[targets[wrong] == which]
        rows.append((f"Most right: {name}", rights[np.argsort(-predictions[rights, which])][:n]))
        rows.append((f"Most wrong: {name}", wrongs[np.argsort(predictions[wrongs, which])][:n]))
    rows.append(("Least certain", np.argsort(sureness)[:n]))
    return rows


def in_words(prediction: Any, target: Any, vocab: Any) -> str:
    """Say what the network takes a picture for, how sure it is, and what it is."""
    answer = int(prediction.argmax())
    truth = "right" if answer == int(target) else f"it is {vocab[int(target)]}"
    return f"{vocab[answer]}, {prediction[answer]:.0%} sure\n({truth})"


def show_confusion(learn: Any) -> None:
    """Show how often each class of the validation pictures is taken for each class."""
    predictions, targets = one_class_each(learn)
    names = [str(name) for name in learn.dls.vocab]
    counts: Any = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (targets, predictions.argmax(axis=1)), 1)
    side = max(4, 0.35 * len(names))
    _, axis = plt.subplots(figsize=(side + 1, side), layout="constrained")
    axis.imshow(counts, cmap="Blues")
    axis.set(title="What is taken for what", xlabel="The network says", ylabel="It is")
    axis.set_xticks(range(len(names)), names, rotation=0 if len(names) < 5 else 90)
    axis.set_yticks(range(len(names)), names)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if count > counts.max() / 2 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=colour)
