"""A pass goes on where the transforms of a batch do not fit, or the host's memory runs short."""

from __future__ import annotations

import pytest

import fastmagic
from fastmagic.errors import LessonError
from fastmagic.guard.pressure import Pressure, used_share

SMALL = {"arch": "squeezenet1_1", "weights": "none", "size": 32, "bs": 8}

TRANSFORM = """
from fastai.vision.all import *
class Hungry(Transform):
    order = 101  # after Normalize
    def encodes(self, x: TensorImage):
        calls.append(1)
        if fails(len(calls)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return x
"""

BODY = """
for dl in dls:
    dl.after_batch.add(Hungry())
learn.fit(2, 1e-3)
seen = learn.validate()
"""


def lesson(folder, runs, fails, body=BODY, **options):
    names = {"calls": [], "fails": fails}
    exec(TRANSFORM, names)
    names["calls"] = []
    result = fastmagic.train_lesson1(
        folder, body, runs_folder=runs, namespace=names, **{**SMALL, **options}
    )
    return result, names


@pytest.mark.train
@pytest.mark.parametrize("workers", [0, 2])
def test_transforms_that_do_not_fit_are_tried_again_and_then_done_by_the_host(
    small_folder, tmp_path, workers
):
    whole, _ = lesson(small_folder, tmp_path / "a", lambda call: False)
    once, _ = lesson(small_folder, tmp_path / "b", lambda call: call == 3, workers=workers)
    twice, names = lesson(small_folder, tmp_path / "c", lambda call: call in (3, 4))
    assert once.weights_sha256 == twice.weights_sha256 == whole.weights_sha256
    assert not once.incidents
    [incident] = twice.incidents
    assert "transforms of a batch did not fit" in incident.what
    assert not hasattr(names["dls"].train, "_on_host")
    assert names["dls"].train.device is not None


@pytest.mark.train
def test_pictures_that_fit_nowhere_are_an_error_that_says_what_to_ask_for(small_folder, tmp_path):
    with pytest.raises(LessonError, match="pictures of one batch alone") as caught:
        lesson(small_folder, tmp_path, lambda call: call > 2)
    assert "--bs" in caught.value.next_step


@pytest.mark.train
def test_an_error_of_a_transform_that_is_none_of_memory_comes_through(small_folder, tmp_path):
    def fails(call):
        if call == 3:
            raise RuntimeError("expected a picture")

    with pytest.raises(RuntimeError, match="expected a picture"):
        lesson(small_folder, tmp_path, fails)


@pytest.mark.train
def test_where_memory_runs_short_fewer_processes_load_and_the_result_is_the_same(
    small_folder, tmp_path
):
    body = """
learn.watch.session.pressure.used = short
learn.fit(3, 1e-3)
left = dls.train.fake_l.num_workers
"""

    def run(name, used):
        names = {"short": used}
        result = fastmagic.train_lesson1(
            small_folder,
            body,
            runs_folder=tmp_path / name,
            namespace=names,
            workers=2,
            **{**SMALL, "bs": 4},
        )
        return result, names["left"]

    roomy, two = run("roomy", lambda: 0.5)
    short, fewer = run("short", lambda: 0.93)
    assert (two, fewer) == (2, 1)
    assert not roomy.incidents
    assert short.weights_sha256 == roomy.weights_sha256
    [incident] = short.incidents
    assert incident.what.startswith("93% of the memory")
    assert "1 process loads pictures" in incident.done


@pytest.mark.train
def test_features_are_computed_in_parts_where_a_batch_does_not_fit(small_folder, tmp_path):
    body = """
learn.freeze()
with learn.precomputed():
    learn.fit(2, 1e-2)
"""
    make = """
from torchvision.models import squeezenet1_1
def arch(pretrained=False):
    model = squeezenet1_1()
    first = model.features[0]
    plain = first.forward
    def forward(x):
        if len(x) > most[0]:
            raise MemoryError("no more")
        return plain(x)
    first.forward = forward
    return model
"""

    def run(name, most):
        names = {"most": [most]}
        exec(make, names)
        return fastmagic.train_lesson1(
            small_folder,
            body,
            runs_folder=tmp_path / name,
            namespace=names,
            **{**SMALL, "arch": "arch"},
        )

    whole, parted = run("whole", 99), run("parted", 3)
    assert parted.accuracy == whole.accuracy
    assert any("2 pictures at a time" in one.done for one in parted.incidents)


def test_memory_is_looked_at_once_a_second_and_given_up_once_a_minute():
    now, given = [0.0], []
    pressure = Pressure(lambda: 0.95, lambda: given.append(now[0]), lambda: now[0])
    for second in range(130):
        now[0] = second / 2
        pressure.eased()
    assert given == [0.0, 60.0]
    pressure = Pressure(lambda: 0.89, lambda: given.append("more"), lambda: now[0])
    assert pressure.eased() is None
    assert given == [0.0, 60.0]


def test_the_containers_limit_counts(tmp_path):
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    own = tmp_path / "proc" / "self"
    own.mkdir(parents=True)
    (own / "cgroup").write_text("0::/\n")
    (own / "mountinfo").write_text(
        "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    )
    (group / "memory.max").write_text(f"{1000 * 2**20}\n")
    (group / "memory.current").write_text(f"{950 * 2**20}\n")
    (group / "memory.stat").write_text(f"inactive_file {30 * 2**20}\n")
    assert used_share(tmp_path) == pytest.approx(0.92)


def test_a_process_that_is_gone_is_told_by_its_pipe_and_no_other_error_is_taken_for_it():
    from multiprocessing import Pipe

    from fastmagic.guard.workers import is_dead_worker

    ours, its = Pipe()
    its.close()
    with pytest.raises((EOFError, ConnectionError)) as gone:
        ours.recv()
    assert is_dead_worker(gone.value)
    with pytest.raises(ConnectionResetError) as other:
        raise ConnectionResetError("a server that pictures are read from")
    assert not is_dead_worker(other.value)
    assert not is_dead_worker(EOFError())
    assert is_dead_worker(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
