"""What stands in the example notebooks, cell by cell; `notebooks.py` makes and runs them."""

from __future__ import annotations

INSTALL = """\
import importlib.util

if importlib.util.find_spec("fastmagic") is None:
    %pip install --quiet "{source}"
"""

# Each cell is ("words", text) or ("code", text).
QUICKSTART = [
    (
        "words",
        "# fastmagic in two minutes\n\n"
        "Cats and dogs that the package draws itself: no download, no GPU needed. Run the cells "
        "from the top.",
    ),
    ("code", INSTALL),
    ("code", "%load_ext fastmagic"),
    ("words", "Will training run here, and on what?"),
    ("code", "%gpu_check"),
    ("words", "Is all that fastai needs installed? Where it is, nothing is changed."),
    ("code", "%fastai_setup"),
    ("words", "Get the pictures. The folder is returned, and a card shows what is in it."),
    ("code", "path = %get_data sample"),
    (
        "words",
        "Train: about a minute without a GPU. If you press stop, run the cell again: it goes on.",
    ),
    ("code", "%train_lesson1"),
    ("words", "`learn` is a plain fastai learner now. Ask it about a picture:"),
    ("code", "photo = dls.valid_ds.items[-1]\nphoto.name, learn.predict(photo)"),
    (
        "words",
        "The lesson with code of your own: `path`, `dls` and `learn` are ready, the rest is "
        "ordinary fastai.",
    ),
    (
        "code",
        "%%train_lesson1 --name my-own\n"
        "# One epoch only, to be quick: too few to learn much.\n"
        "learn.fit_one_cycle(1, 5e-3)\n"
        "len(dls.valid_ds)",
    ),
]

LESSON1 = [
    (
        "words",
        "# Lesson 1: dogs vs cats\n\n{badges}"
        "The outputs in this file come from a **stand-in**: a few pictures that fastmagic drew, a "
        "network that knows such drawings in place of ImageNet's weights, on a CPU. Run it on "
        "Colab or Kaggle with a GPU to see the real lesson: 25,000 photographs, resnet34.\n\n"
        "Where fastmagic is not installed, the next cell installs it from `{source}`{upload}.",
    ),
    ("code", INSTALL),
    ("code", "%load_ext fastmagic"),
    ("code", "%gpu_check"),
    ("code", "%fastai_setup"),
    (
        "words",
        "The photographs: 840 MB, downloaded once. A broken download goes on where it stopped.",
    ),
    ("code", "path = %get_data dogscats"),
    (
        "words",
        "The whole lesson: the head, the whole network in cycles, then test-time augmentation.",
    ),
    ("code", "%train_lesson1"),
    ("words", "The same with code of your own, after the 2020 lesson:"),
    ("code", "%%train_lesson1\nlearn.fine_tune(1)"),
    ("words", "What the model sees in one of the pictures:"),
    ("code", "learn.predict(dls.valid_ds.items[0])"),
]

OWN_PHOTOS = [
    (
        "words",
        "# Your own photographs\n\n"
        "From a zip of photographs to a model that names what is in a new one.\n\n"
        "1. Make a folder for each class, and put its photographs in: `cats/`, `dogs/`. Fifty of "
        "each are a good beginning. Zip both folders.\n"
        "2. Upload the zip beside this notebook, and write its name into the cell below.\n\n"
        "The outputs in this file come from a **stand-in**: a zip of pictures that fastmagic drew, "
        "and a network that knows such drawings in place of ImageNet's weights.",
    ),
    ("code", INSTALL),
    ("code", "%load_ext fastmagic"),
    (
        "words",
        "The card below says what was found: how many of each class, what cannot be read, what is "
        "there twice. A fifth is kept for validation, always the same.",
    ),
    ("code", "path = %get_data my_photos.zip"),
    (
        "words",
        "Train. `quick` trains the head of the network alone: a minute or two, also without a GPU. "
        "With a GPU, `modern` trains all of it.",
    ),
    ("code", "report = %train_lesson1 --recipe quick"),
    (
        "words",
        "`learn` is a plain fastai learner now. Ask it about a photograph: the class, and how sure "
        "it is of each.",
    ),
    (
        "code",
        "photo = dls.valid_ds.items[0]\n"
        "name, _, shares = learn.predict(photo)\n"
        "print(photo.name, name, dict(zip(dls.vocab, shares.tolist())))",
    ),
    (
        "words",
        "Take the model with you. The run's folder holds it as `export.pkl`, which plain fastai "
        "reads where fastmagic is not installed. Open only models that you trust: such a file can "
        "run any code.",
    ),
    (
        "code",
        "from fastai.learner import load_learner\n\n"
        "predictor = load_learner(report.model)\n"
        "predictor.predict(photo)[0]",
    ),
]

SURVIVE = [
    (
        "words",
        "# The kernel dies, and nothing is lost\n\n"
        "A free machine may vanish at any moment. Here the kernel is killed in the middle of the "
        "training, as the machine's owner would do it: without a word.\n\n"
        "1. Run the cells from the top. The third one kills the kernel, and your notebook says "
        "so.\n"
        "2. Run the cells from the top again, in the new kernel: the lesson goes on.",
    ),
    ("code", INSTALL),
    (
        "code",
        "import os\n"
        "import signal\n"
        "from pathlib import Path\n\n"
        "from fastai.callback.core import Callback\n\n\n"
        "class PowerCut(Callback):\n"
        '    "Kills this kernel in the third epoch, once."\n\n'
        "    def before_batch(self):\n"
        '        was = Path("power-was-cut")\n'
        "        if self.training and self.epoch == 2 and self.iter == 2 and not was.exists():\n"
        "            was.touch()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n\n\n"
        "%load_ext fastmagic",
    ),
    (
        "code",
        "%%train_lesson1 --data sample --name cut\nlearn.fit_one_cycle(4, 5e-3, cbs=PowerCut())",
    ),
    (
        "words",
        "It went on after the second epoch, and says what the kill cost. Is the network the one "
        "that an undisturbed run would have made? The same lesson, without the cut:",
    ),
    ("code", "cut = _\ncut.incidents"),
    ("code", "%%train_lesson1 --data sample --name undisturbed\nlearn.fit_one_cycle(4, 5e-3)"),
    ("words", "Every weight of the two networks, bit for bit (on a GPU: nearly):"),
    ("code", "_.weights_sha256 == cut.weights_sha256"),
]

CELLS = {
    "quickstart": QUICKSTART,
    "lesson1": LESSON1,
    "own_photos": OWN_PHOTOS,
    "survive": SURVIVE,
}
