from __future__ import annotations

import sys

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
    before = set(sys.modules)
    inventory.look(Interpreter())
    fresh = {name.split(".")[0] for name in set(sys.modules) - before}
    assert not fresh & {"torch", "fastai", "numpy", "IPython"}


def test_a_changed_package_that_is_imported_is_named_by_its_distribution():
    names = ["plum-dispatch", "scikit-learn", "torch"]
    assert inventory.already_imported(names, ["plum._function", "torch.nn"]) == (
        "plum-dispatch",
        "torch",
    )


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
