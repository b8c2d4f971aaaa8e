from __future__ import annotations

import subprocess
import sys

import pytest

from fastmagic.environment import inventory
from fastmagic.environment.inventory import Interpreter

from .wheels import unpack


def test_only_what_matters_is_read_and_names_are_canonical(tmp_path):
    unpack(tmp_path, "fastai", "2.8.8", requires=("fastcore>=2", "PyYAML", "torch<3"))
    unpack(tmp_path, "pyyaml", "6.0.3")
    unpack(tmp_path, "something_else", "1.0")
    here = inventory.look(Interpreter(paths=(str(tmp_path),)))
    assert here.installed == {"fastai": "2.8.8", "pyyaml": "6.0.3"}
    assert here.requires["fastai"] == ("fastcore>=2", "PyYAML", "torch<3")


def test_a_snapshot_reads_everything(tmp_path):
    unpack(tmp_path, "something_else", "1.0")
    assert inventory.snapshot(Interpreter(paths=(str(tmp_path),))) == {"something-else": "1.0"}


def test_looking_imports_nothing_heavy():
    look = (
        "import sys; from fastmagic.environment import inventory as i; i.look(i.Interpreter()); "
        "print(*sorted(set(sys.modules) & {'torch', 'fastai', 'numpy', 'IPython', 'packaging'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["packaging"]  # which shows that the list is read


def test_a_changed_package_that_is_imported_is_named_by_its_distribution():
    names = ["plum-dispatch", "scikit-learn", "torch"]
    assert inventory.already_imported(names, ["plum._function", "torch.nn"]) == (
        "plum-dispatch",
        "torch",
    )


@pytest.mark.parametrize(
    ("name", "files", "imported", "other"),
    [
        ("ipython", ("IPython/__init__.py",), "IPython.core", "ipython_genutils"),
        ("fonttools", ("fontTools/__init__.py",), "fontTools.ttLib", "fonts"),
        ("scikit-image", ("skimage/__init__.py",), "skimage", "scikit"),
        ("opencv-contrib-python", ("cv2/__init__.py",), "cv2.gapi", "opencv"),
        ("protobuf", ("google/protobuf/__init__.py",), "google.protobuf", "google.colab"),
        ("six", ("six.py",), "six", "sixer"),
        ("cffi", ("_cffi_backend.cpython-312-x86_64-linux-gnu.so",), "_cffi_backend", "_cffi"),
    ],
)
def test_the_modules_of_a_package_are_read_from_its_own_list(
    tmp_path, name, files, imported, other
):
    unpack(tmp_path, name, "1.0", modules=dict.fromkeys(files, ""))
    record = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info/RECORD"
    record.write_text("".join(f"{file},,\n" for file in files), encoding="utf-8")
    paths = (str(tmp_path),)
    assert inventory.already_imported([name], [imported], paths) == (name,)
    assert inventory.already_imported([name], [other], paths) == ()


def test_the_builds_of_torch_and_torchvision_are_read_and_not_imported(tmp_path):
    for name, version in (("torch", "2.13.0"), ("torchvision", "0.28.0")):
        says = f"__version__: str = '{version}+cu130'\nraise SystemExit\n"
        info = {f"{name}/__init__.py": "raise SystemExit\n", f"{name}/version.py": says}
        unpack(tmp_path, name, version, requires=("torch==2.13.0",), modules=info)
    here = inventory.look(Interpreter(paths=(str(tmp_path),)))
    assert here.builds == {"torch": "2.13.0+cu130", "torchvision": "0.28.0+cu130"}
    assert here.installed == {"torch": "2.13.0", "torchvision": "0.28.0"}
    assert here.requires["torchvision"] == ("torch==2.13.0",)


def test_a_build_that_does_not_say_what_it_is_is_left_out(tmp_path):
    unpack(tmp_path, "torch", "2.13.0")
    assert inventory.look(Interpreter(paths=(str(tmp_path),))).builds == {}
