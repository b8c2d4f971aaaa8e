"""The lesson as a plain fastai script: it runs where fastmagic is not, on the same pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from fastmagic.data.catalogue import OWN_PICTURES
from fastmagic.data.survey.pictures import lay_out
from fastmagic.errors import BadInput
from fastmagic.lesson import cell as cells
from fastmagic.lesson import export, recipes
from fastmagic.lesson.settings import settle

pytestmark = pytest.mark.train

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 16, "workers": 0}


def exported(folder, body, target, namespace=None, first_line=1, transform=None, **asked):
    """Export a lesson on a folder, and give the text of the script."""
    settings = settle(str(folder), OWN_PICTURES, {**SMALL, **asked}, own_body=True, env={})
    layout = lay_out(
        folder,
        label_pattern=settings.label_pattern,
        valid_pct=settings.valid_pct,
        seed=settings.seed,
    )
    cell = cells.parse(body, first_line=first_line, transform=transform)
    export.write(target, settings, layout, cell, {} if namespace is None else namespace)
    return target.read_text()


def refusal(folder, body, target, namespace=None, **options):
    with pytest.raises(BadInput) as caught:
        exported(folder, body, target, namespace, **options)
    assert not target.exists()
    assert caught.value.next_step
    return str(caught.value)


RUN = """
import json, os, runpy, sys, warnings
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "fastmagic":
            raise ImportError("fastmagic is not installed here")
sys.meta_path.insert(0, Blocked())
warnings.simplefilter("ignore")
found = {}
for file in sys.argv[1:]:
    left = runpy.run_path(file, run_name="__main__")
    found[os.path.basename(file)] = {
        "parts": [[str(item) for item in dl.items] for dl in left["dls"].loaders],
        "vocab": list(left["dls"].vocab),
        "loader": [repr(left["dls"].train.after_item), repr(left["dls"].train.after_batch)],
        "bs": left["dls"].train.bs,
        "epochs": len(getattr(left["learn"].recorder, "values", ())) if "learn" in left else 0,
        "said": {k: v for k, v in left.items() if k.startswith("told")},
    }
print("\\n" + json.dumps(found))
"""


LAYOUTS = ("train and valid", "Training and Val", "class folders", "flat files", "by a pattern")


def laid_out(kind, pictures, root):
    """Lay the pictures out in one of the ways, with an unreadable and a stray one among them."""
    for file in sorted(pictures.rglob("*.png")):
        animal, number = file.name.split(".")[:2]
        name = {
            "train and valid": str(file.relative_to(pictures)),
            "Training and Val": _spelled_otherwise(file.relative_to(pictures).as_posix()),
            "class folders": f"{animal}s/{number}.png",
            "flat files": file.name,
            "by a pattern": f"{number}_of_{animal}.png",
        }[kind]
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / name)
    sorted(root.rglob("*.png"))[5].write_bytes(b"no picture")
    if kind not in ("flat files", "by a pattern"):
        shutil.copy(next(pictures.rglob("*.png")), root / "stray.png")
    return {"label_pattern": r"_of_(\w+)\."} if kind == "by a pattern" else {}


def _spelled_otherwise(name):
    return name.replace("train/", "Training/").replace("valid/", "Val/")


NOTEBOOK = '''
import functools
import json as js
from fastai.vision.all import *
from collections import Counter

rate, epochs, where = 1e-3, 1, Path("here")
rates = {"head": slice(1e-5, rate), "odd": float("inf")}
preds = object()
tensor_of_mine = np.zeros(3)

def shown(f):
    @functools.wraps(f)
    def around(*args): return f(*args)
    return around

@shown
def train(n):
    """Train."""
    for _ in range(n): learn.fit(1, rates["head"])
    return Told()

def again(n): return train(n) if n else again(0)

class Told:
    "What was told."
    def __repr__(self): return f"told {rate} {Counter('aa')['a']}"

half = lambda x: x / 2
'''


@pytest.fixture
def notebook():
    """Give a namespace as a notebook's cells leave it."""
    namespace: dict = {"__name__": "__main__"}
    cells.run(cells.parse(NOTEBOOK), namespace)
    return namespace


USES = """
learn.freeze()
result = again(epochs)
told = [repr(result), half(4), js.dumps(str(where)), rates['odd'] > 1]
preds, targets = learn.get_preds()
batches = Features = 3  # what helpers of the additions are called: theirs are theirs
with learn.precomputed():
    learn.fit(1)
"""


@pytest.fixture(scope="module")
def scripts(small_folder, tmp_path_factory):
    """Export every kind of script."""
    import torch
    from torchvision.models import squeezenet1_1

    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTAI_HOME", str(folder / "fastai"))
        for name in recipes.names():
            body = recipes.body(name, {"epochs": 1})
            exported(small_folder, body, folder / f"recipe {name}.py")
        for kind in LAYOUTS:
            options = laid_out(kind, small_folder, folder / f"my {kind}")
            exported(folder / f"my {kind}", "len(dls.train)", folder / f"{kind}.py", **options)
        namespace: dict = {"__name__": "__main__"}
        cells.run(cells.parse(NOTEBOOK), namespace)
        exported(small_folder, USES, folder / "notebook.py", namespace)
        torch.manual_seed(3)
        weights = {"state_dict": squeezenet1_1(weights=None).state_dict()}
        torch.save(weights, folder / "mine.pth")
        body = "told = float(next(iter(learn.model.parameters())).sum())"
        exported(small_folder, body, folder / "weights.py", weights=str(folder / "mine.pth"))
    return folder


@pytest.fixture(scope="module")
def ran(scripts):
    """Run them all, in one process without fastmagic; give what each left."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, sorted(scripts.glob("*.py")))],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=scripts,
        env={"PATH": "", "MPLBACKEND": "Agg", "HOME": str(scripts), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_runs_without_fastmagic(scripts, ran, name):
    text = (scripts / f"recipe {name}.py").read_text()
    assert text.startswith(export.MARKS["--export"])
    assert "import fastmagic" not in text
    assert ran[f"recipe {name}.py"]["epochs"] > 0


@pytest.mark.parametrize("kind", LAYOUTS)
def test_its_loaders_have_the_same_pictures_and_the_same_transforms(scripts, ran, kind):
    import torch

    from fastmagic.lesson.learner import make_loaders

    root, text = scripts / f"my {kind}", (scripts / f"{kind}.py").read_text()
    options = {"label_pattern": r"_of_(\w+)\."} if kind == "by a pattern" else {}
    settings = settle(str(root), OWN_PICTURES, {**SMALL, **options}, own_body=True, env={})
    layout = lay_out(root, label_pattern=settings.label_pattern)
    assert layout.unreadable
    found = ran[f"{kind}.py"]
    wanted = make_loaders(settings, layout, torch.device("cpu"))
    parts = [sorted(str(item) for item in dl.items) for dl in wanted.loaders]
    assert [sorted(part) for part in found["parts"]] == parts
    assert found["vocab"] == list(wanted.vocab)
    assert found["bs"] == wanted.train.bs
    assert found["loader"] == [repr(wanted.train.after_item), repr(wanted.train.after_batch)]
    assert "files +=" not in text
    assert "valid = {path" not in text  # found by the folder or the seed, not by a list
    assert "learn =" not in text


def test_what_the_body_uses_of_the_notebook_is_written_with_its_source(scripts, ran):
    text = (scripts / "notebook.py").read_text()
    assert "tensor_of_mine" not in text
    assert "preds =" not in text.replace("preds, targets =", "")
    assert text.count("def shown") == 1
    assert ran["notebook.py"]["said"]["told"] == ["told 0.001 2", 2.0, '"here"', True]


def test_weights_of_a_file_are_loaded_as_in_the_lesson(ran):
    import torch
    from torchvision.models import squeezenet1_1

    torch.manual_seed(3)
    first = next(iter(squeezenet1_1(weights=None).parameters()))
    assert ran["weights.py"]["said"]["told"] == pytest.approx(float(first.detach().sum()))


def test_what_cannot_be_written_is_named_with_the_reason_and_nothing_is_written(
    small_folder, tmp_path, notebook
):
    code = (
        "import fastmagic\n"
        "big = list(range(100_000))\n"
        "several = [lambda x: x]\n"
        "first = several[0]\n"
        "def outer():\n    n = 3\n    def inner(): return n\n    return inner\n"
        "closure = outer()\n"
        "def uses(): return tensor_of_mine\n"
    )
    cells.run(cells.parse(code), notebook)
    body = "print(big, several, first, closure, uses, preds, fastmagic)\nlearn.fit(1)"
    with (tmp_path / "log.txt").open("w") as notebook["log"]:
        said = refusal(small_folder, body + "\nlog", tmp_path / "lesson.py", notebook)
    for name, why in {
        "big": "100,000 values",
        "several": "define it in the cell",
        "first": "lambda",
        "closure": "variables of the function around it",
        "tensor_of_mine": "ndarray: save it to a file, and load it in the cell (`uses` uses it)",
        "preds": "an object of the kind object",
        "fastmagic": "does without",
        "log": "an open file",
    }.items():
        [line] = [line for line in said.splitlines() if line.strip().startswith(f"`{name}`:")]
        assert why in line


def test_a_class_without_methods_is_found_in_the_history(small_folder, tmp_path, notebook):
    source = "class Plain:\n    rate = 3\n"
    exec(source, notebook)
    notebook["In"] = ["", "Plain = 1", source, "Plain.rate"]
    text = exported(small_folder, "n = Plain.rate", tmp_path / "lesson.py", notebook)
    assert source.strip() in text


@pytest.mark.parametrize(
    ("body", "line", "why"),
    [
        ("x = 1\n!ls", "line 3", "IPython"),
        ("%time learn.fit(1)", "line 2", "IPython"),
        ("learn.fit?", "line 2", "IPython"),
        ("x = 1\nget_ipython().system('ls')", "line 3", "IPython"),
        ("import asyncio\nx = 2\nawait asyncio.sleep(0)", "line 4", "await"),
        ("from __future__ import annotations", "line 2", "first of a file"),
    ],
)
def test_what_only_a_notebook_can_do_is_refused_with_its_line(
    small_folder, tmp_path, shell, body, line, why
):
    said = refusal(
        small_folder, body, tmp_path / "x.py", first_line=2, transform=shell.transform_cell
    )
    assert line in said
    assert why in said


def test_as_a_notebook_it_holds_the_same_code(small_folder, tmp_path):
    body = "learn.fit(1)"
    script = exported(small_folder, body, tmp_path / "lesson.py")
    book = json.loads(exported(small_folder, body, tmp_path / "lesson.ipynb"))
    code = [cell["source"] for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(text in script for text in code)
    assert code[-1] == body
    assert book["cells"][0]["source"].startswith(export.MARKS["--export"])
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.from_dict(book))


def test_only_a_file_of_our_own_is_overwritten(small_folder, tmp_path):
    for name in ("lesson.py", "lesson.ipynb"):
        file = tmp_path / name
        exported(small_folder, "x = 1", file)
        exported(small_folder, "x = 2", file)
        assert "x = 2" in file.read_text()
        file.write_text("# mine\nx = 3\n")
        with pytest.raises(BadInput, match="there already"):
            exported(small_folder, "x = 1", file)
        assert file.read_text() == "# mine\nx = 3\n"


@pytest.mark.parametrize("name", ["lesson.txt", "lesson", "nowhere/lesson.py", "folder.py"])
def test_a_file_that_cannot_be_is_refused(small_folder, tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(BadInput) as caught:
        exported(small_folder, "x = 1", tmp_path / name)
    assert caught.value.next_step


def test_a_body_that_uses_neither_makes_neither(small_folder, tmp_path):
    text = exported(small_folder, "print(path)", tmp_path / "lesson.py")
    assert "path = Path(" in text
    assert "dls =" not in text
    assert "learn =" not in text


def test_a_learner_that_the_body_makes_itself_is_not_made_before(small_folder, tmp_path):
    body = (
        "from fastai.vision.all import *\n"
        "learn = vision_learner(dls, squeezenet1_1, pretrained=False)\nlearn.fit(1)"
    )
    text = exported(small_folder, body, tmp_path / "lesson.py")
    assert text.count("learn = vision_learner(") == 1
    assert "dls = DataBlock(" in text
