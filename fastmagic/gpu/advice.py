"""What to do next: every sentence of advice, with where it was checked.

Plain data in, sentences out. A sentence here names only what exists: a menu entry, a command, a
wheel; the comment beside it says by which source, checked in November 2026.
"""

from __future__ import annotations

import sys

from fastmagic.platforms import GPU_OFFERS, Name

Advice = tuple[str, ...]
Capability = tuple[int, int]

# Compute capability below which no PyTorch build since 2.4 has kernels, whatever the driver: the
# builds for CUDA 11.8 moved to cuDNN 9, which needs 5.0 and later. Source: cuDNN 9 support matrix,
# https://docs.nvidia.com/deeplearning/cudnn/latest/reference/support-matrix.html.
OLDEST_USABLE: Capability = (5, 0)
# Compute capability below which the builds that pip takes by default have no kernels. Source:
# https://github.com/pytorch/pytorch/blob/main/RELEASE.md, "Release Compatibility Matrix".
OLDEST_DEFAULT: Capability = (7, 5)
# The newest compute capability that the builds for CUDA 11.8 and 12.6 have kernels for: the same
# matrix.
NEWEST_LEGACY: Capability = (9, 0)
# The Pythons that PyTorch 2.3.1 for CUDA 11.8 has wheels for. Source: the file names in
# https://download.pytorch.org/whl/cu118/torch/, cp38 to cp312.
LAST_KEPLER_PYTHONS = ((3, 8), (3, 12))

# https://www.nvidia.com/drivers is NVIDIA's own short address of its driver search.
DRIVERS = "https://www.nvidia.com/drivers"
# PyTorch's own install selector.
TORCH_LOCALLY = "https://pytorch.org/get-started/locally/"


def get_a_gpu(place: Name) -> str:
    """Say how this platform gives a GPU, in steps; empty where it is up to the machine.

    Examples
    --------
    >>> get_a_gpu("jupyter")
    ''
    """
    return GPU_OFFERS.get(place, "")


def new_machine(place: Name) -> Advice:
    """A GPU or its driver is out of order: another machine, or a restart of this one, mends it.

    Source, for a GPU that fell off the bus: NVIDIA's XID documentation, XID 79,
    https://docs.nvidia.com/deploy/xid-errors/.
    """
    if place == "colab":
        # The menu as many public notebooks of 2025 and 2026 name it.
        return ("Runtime > Disconnect and delete runtime, then run the notebook again.",)
    if place == "kaggle":
        # A session is stopped and started as a whole: https://www.kaggle.com/docs/notebooks.
        return ("Stop the notebook's session and start it again.",)
    return ("Restart this computer, or get a new virtual machine.",)


# https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
CONTAINER = "In a container, start it with its GPUs: docker run --gpus all …"
RESTART = "Restart the computer; in a container, start a new one."


def driver_sees_no_gpu() -> Advice:
    """A driver runs, no card answers."""
    return (CONTAINER, "On your own computer, check that the card is plugged in and powered.")


def uncover(visible: str) -> Advice:
    """`CUDA_VISIBLE_DEVICES` hides every card.

    Source: CUDA Programming Guide, "CUDA Environment Variables"; CUDA reads it once, when it
    starts in a process.
    """
    return (
        f"It is set to {visible!r}: remove it where it is set (in this notebook, or where Jupyter "
        "was started), then restart the kernel.",
    )


def make_a_slice() -> Advice:
    """MIG is on and no instance was made.

    Source: NVIDIA Multi-Instance GPU User Guide,
    https://docs.nvidia.com/datacenter/tesla/mig-user-guide/.
    """
    return (
        "Ask whoever runs this machine for a MIG instance; as its administrator, switch MIG off "
        "with: sudo nvidia-smi -mig 0",
    )


def matching_driver(place: Name) -> Advice:
    """The kernel's module and NVIDIA's library differ: the new driver is not loaded yet.

    Source: NVML API reference, NVML_ERROR_LIB_RM_VERSION_MISMATCH.
    """
    return new_machine(place) if get_a_gpu(place) else (RESTART,)


def install_driver(place: Name) -> Advice:
    """A card without a driver."""
    if get_a_gpu(place):
        return new_machine(place)
    return (f"Install the driver from {DRIVERS} and restart the computer.",)


def mend_driver(place: Name) -> Advice:
    """The driver is installed, and answers with an error of its own.

    Source: a container that lost its GPU says "Unknown Error" until a new one is started,
    https://github.com/NVIDIA/nvidia-docker/issues/1730.
    """
    if get_a_gpu(place):
        return new_machine(place)
    return (RESTART, f"If that does not help, install the driver again from {DRIVERS}.")


def start_driver(place: Name) -> Advice:
    """The driver is installed, and its kernel module does not run.

    Source: NVML API reference, NVML_ERROR_DRIVER_NOT_LOADED; after an update of the kernel the
    module has to be built again, which installing the driver does.
    """
    if get_a_gpu(place):
        return new_machine(place)
    return (
        f"Restart the computer; if that does not help, install the driver again from {DRIVERS}.",
        CONTAINER,
    )


def install_nvml() -> Advice:
    """The package that asks the driver, https://pypi.org/project/nvidia-ml-py/, is missing or old.

    An old one is in this kernel's memory already: hence the restart.
    """
    return ("Run %pip install -U nvidia-ml-py, restart the kernel and run %gpu_check again.",)


def ask_for_permission() -> Advice:
    """NVML may not be asked by this user: NVML API reference, NVML_ERROR_NO_PERMISSION."""
    return ("Ask whoever runs this machine for access to the GPU (the device files /dev/nvidia*).",)


def newer_driver(
    driver: str, floor: int, capability: Capability | None, place: Name = "jupyter"
) -> Advice:
    """A driver below what this torch's CUDA needs.

    Parameters
    ----------
    driver
        The installed one.
    floor
        The branch that is needed.
    capability
        Of the card, or None.
    place
        The platform; on a rented machine nobody installs a driver, and its own torch fits it.

    Notes
    -----
    Which build runs with which driver: NVIDIA's table in `drivers.DRIVER_FLOORS`; that the builds
    exist, and for which cards: `environment/planning/torch_tables.py`, which `%fastai_setup` goes
    by.

    Examples
    --------
    >>> newer_driver("535.104", 580, (7, 5))[0]
    'Install driver 580 or newer from https://www.nvidia.com/drivers and restart the computer.'
    >>> newer_driver("535.104", 580, (7, 5))[1]
    'Or take a PyTorch for this driver: %fastai_setup --torch cu126'
    >>> newer_driver("470.82", 580, (3, 7))
    ('No newer driver supports this card: 470 is the last branch that does.',)
    """
    if capability is not None and capability < OLDEST_USABLE:
        # https://nvidia.custhelp.com/app/answers/detail/a_id/5204: Kepler's last branch is R470.
        return ("No newer driver supports this card: 470 is the last branch that does.",)
    first = f"Install driver {floor} or newer from {DRIVERS} and restart the computer."
    if get_a_gpu(place):
        # The images bring a torch for their driver: see `cuda_build`.
        first = (
            f"{new_machine(place)[0]} Leave out the cell that installs another PyTorch: this "
            "platform's own fits its driver."
        )
    label = _build_for(driver, capability)
    if not label:
        return (first,)
    return (first, f"Or take a PyTorch for this driver: %fastai_setup --torch {label}")


def _build_for(driver: str, capability: Capability | None) -> str:
    """Name the newest builds that run with a driver and on a card; empty where there are none.

    Examples
    --------
    >>> [_build_for(driver, (7, 0)) for driver in ("535.104.05", "470.82", "418.87")]
    ['cu126', 'cu118', '']
    >>> _build_for("580.65", (7, 5)), _build_for("570.86", (12, 0)), _build_for("470.82", None)
    ('cu130', 'cu128', '')
    """
    head = driver.split(".")[0]
    branch = int(head) if head.isdigit() else 0
    if capability is not None and capability < OLDEST_USABLE:
        return ""
    if branch >= 580 and capability is not None and capability >= OLDEST_DEFAULT:
        return "cu130"
    if branch >= 525:
        return "cu128" if capability is not None and capability > NEWEST_LEGACY else "cu126"
    fits = branch >= 450 and capability is not None and capability <= NEWEST_LEGACY
    return "cu118" if fits else ""


def install_torch() -> Advice:
    """No torch; our own set-up chooses the build."""
    return ("Run %fastai_setup; it installs PyTorch and fastai.",)


def cuda_build(place: Name, driver: str | None, capability: Capability | None) -> Advice:
    """A GPU beside a torch for the CPU.

    Examples
    --------
    >>> cuda_build("jupyter", "550.54", (7, 5))[0].partition(": ")[2]
    '%fastai_setup --torch cu126'
    """
    if get_a_gpu(place):
        # The image follows the accelerator: the GPU images carry a CUDA torch, the CPU images do
        # not, https://github.com/googlecolab/backend-info and .../Kaggle/docker-python.
        return ("Start a new session with the GPU switched on: its PyTorch has CUDA.",)
    label = _build_for(driver or "", capability)
    if not label:
        return (f"Install the CUDA build, best in a new environment: {TORCH_LOCALLY}",)
    return (f"Put a build for this GPU in its place: %fastai_setup --torch {label}",)


def fitting_wheel(
    capability: Capability,
    place: Name,
    driver: str | None = None,
    python: tuple[int, int] = sys.version_info[:2],
) -> Advice:
    """The installed torch has no kernels for the card.

    Parameters
    ----------
    capability
        The card's.
    place
        The platform; where it has better accelerators, they are the advice.
    driver
        The installed one, or None: the build has to run with it.
    python
        The running Python's version, for wheels that exist for some only.

    Examples
    --------
    >>> fitting_wheel((6, 0), "kaggle")[0].startswith("Pick another accelerator: Settings")
    True
    >>> fitting_wheel((6, 0), "jupyter", "550.54")
    ('Install the last PyTorch with kernels for this card: %fastai_setup --torch cu126',)
    >>> fitting_wheel((3, 7), "jupyter", "470.82", (3, 13))[1].partition("; ")[2]
    'it has no build for Python 3.13, so that takes an environment with Python 3.12.'
    """
    offer = get_a_gpu(place)
    if offer:
        return (f"Pick another accelerator: {offer}",)
    if capability < OLDEST_USABLE:
        # `choose_device` in `lesson/learner.py` tries the GPU and falls back.
        slow = "%train_lesson1 will use the CPU here: slow, but it works."
        return (slow, _kepler_wheel(python))
    if capability < OLDEST_DEFAULT:
        label = _build_for(driver, capability) if driver else ""
        command = f"%fastai_setup --torch {label or 'cu126'}"
        return (f"Install the last PyTorch with kernels for this card: {command}",)
    return (f"Install the newest PyTorch, best in a new environment: {TORCH_LOCALLY}",)


def _kepler_wheel(python: tuple[int, int]) -> str:
    last = "The last PyTorch with kernels for this card is 2.3.1 for CUDA 11.8"
    oldest, newest = LAST_KEPLER_PYTHONS
    if oldest <= python <= newest:
        spans = " to ".join(".".join(map(str, version)) for version in LAST_KEPLER_PYTHONS)
        return f"{last}, made for Python {spans}: %fastai_setup --torch 2.3.1+cu118"
    here, takes = ".".join(map(str, python)), ".".join(map(str, newest))
    return (
        f"{last}; it has no build for Python {here}, so that takes an environment with Python "
        f"{takes}."
    )


def choose_card(uuid: str | None) -> str:
    """Another card of this machine is the better one.

    Source: CUDA Programming Guide, "CUDA Environment Variables": GPUs may be named by UUID.
    """
    name = uuid or "NUMBER"
    return (
        f"To train on the other GPU, restart the kernel and run this before anything else: "
        f"%env CUDA_VISIBLE_DEVICES={name}"
    )


def free_own_memory() -> Advice:
    """This kernel's own earlier cells hold the memory.

    Source: PyTorch, "CUDA semantics > Memory management"; after an error the traceback keeps the
    tensors alive (`sys.last_traceback`), so only a restart frees them for certain.
    """
    return (
        "Restart the kernel: that frees it for certain.",
        "Or try: del learn, dls; import gc, torch; gc.collect(); torch.cuda.empty_cache()",
    )


def free_others_memory(names: tuple[str, ...]) -> Advice:
    """Other programs hold the memory."""
    who = f" ({', '.join(names)})" if names else ""
    return (f"Close the other notebooks and programs that use the GPU{who}; shut down their "
            "kernels, closing the browser's tab alone does not.",)  # fmt: skip


def free_somebodys_memory() -> Advice:
    """It cannot be seen who holds the memory."""
    return (
        "If earlier cells of this notebook trained something, restart the kernel: that frees "
        "their memory.",
        "Otherwise shut down other notebooks and programs that use the GPU.",
    )


def check_setup() -> Advice:
    """Torch itself does not work; our own set-up tries all of it and knows the usual causes."""
    return ("Run %fastai_setup; it checks whether PyTorch and its friends work together.",)


def try_again(place: Name) -> Advice:
    """The trial did not end in its time, of which loading torch takes the most on a slow disk.

    Some seconds from a warm disk (measured); from a cold one not measured. A driver that hangs
    holds a process for ever, and only a restart of the machine ends that.
    """
    return (
        "Run %gpu_check again: where PyTorch is loaded for the first time, that may take long.",
        f"If that does not end either: {new_machine(place)[0]}",
    )


def restart_kernel(place: Name) -> Advice:
    """A CUDA that does not start often does after a restart of the process or the machine."""
    return (
        "Restart the kernel and run %gpu_check again.",
        f"If that does not help: {new_machine(place)[0]}",
    )


def same_cause(what: str) -> Advice:
    """The step failed for the reason that was given first.

    Source: pytorch, "no kernel image is available for execution on the device" is what a build
    without the card's architecture says, https://github.com/Kaggle/kaggle-cli/issues/1151; "The
    NVIDIA driver on your system is too old", its `c10/cuda/CUDAFunctions.cpp`.
    """
    return (f"That is how {what} fails.",)


def small_first() -> Advice:
    """No GPU, and none on offer. The minute: README, `tests/benchmarks/sample_training.py`."""
    return (
        "Small data trains well: %train_lesson1 --data sample takes about a minute (an estimate).",
        "For more, use a free GPU on Colab or Kaggle.",
    )
