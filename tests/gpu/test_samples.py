from __future__ import annotations

import csv
import math
from datetime import datetime

import pytest

from fastmagic.gpu.samples import Samples, read_csv
from fastmagic.gpu.sensors import GpuSample, Sample

BEGAN = 1_790_000_000.0


def busy(second: float) -> int:
    return int(50 + 40 * math.sin(second / 7))


def fill(samples: Samples, count: int, pause: float = 0.25, gpus: int = 1) -> Samples:
    """Add samples as a monitor does: every fourth one tells of the host and of power."""
    for number in range(count):
        second, slow = number * pause, number % 4 == 0
        peak = 9000 if number == 7 else 1000
        gpu = GpuSample(busy(second), peak, 60 if slow else None, 50.0 if slow else None)
        host = (4000, 9000, 1500, 120) if slow else ()
        samples.add(second, Sample((gpu,) * gpus, *host), BEGAN + second)
    return samples


@pytest.mark.parametrize(
    "gpus",
    [0, 1, pytest.param(4, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow)],
)
def test_twelve_hours_fit_into_a_megabyte(gpus):
    samples = fill(Samples(gpus), 12 * 3600 * 4, gpus=gpus)
    assert samples.nbytes() <= 1_000_000
    rows = list(samples.rows())
    assert rows[0].seconds - rows[0].span == pytest.approx(0, abs=0.01)
    assert rows[-1].seconds == pytest.approx(12 * 3600, abs=1)
    assert sum(row.span for row in rows) == pytest.approx(rows[-1].seconds, abs=1)


def test_for_many_gpus_the_rows_are_fewer_and_the_bytes_are_not_more():
    sixteen, one = fill(Samples(16), 5000, gpus=16), fill(Samples(1), 5000)
    assert len(list(sixteen.rows())) < len(list(one.rows()))
    assert sixteen.nbytes() <= 1_000_000


def test_a_run_without_end_stays_bounded():
    samples = Samples(1, cells=1000)
    largest = 0
    for number in range(60_000):
        samples.add(number, Sample((GpuSample(50, 1000),), 4000, 9000, 1500, 120), BEGAN)
        largest = max(largest, samples.nbytes())
    assert largest < 6000
    rows = list(samples.rows())
    assert [row.seconds for row in rows] == sorted(row.seconds for row in rows)
    assert sum(row.span for row in rows) == pytest.approx(59_999, abs=1)


def test_the_newest_are_kept_at_their_full_rate():
    samples = fill(Samples(1), 20_000)
    newest = [row for row in samples.rows() if row.seconds > 4990]
    assert [row.span for row in newest] == [0.25] * len(newest)
    assert len(newest) == 39
    assert samples.series("gpu0_utilisation", seconds=5)[-1] == (4999.75, busy(4999.75))


def test_thinned_rows_keep_the_mean_of_utilisation_and_the_peak_of_memory():
    samples = fill(Samples(1), 40_000)
    place = samples.columns.index("gpu0_utilisation")
    thin = [row for row in samples.rows() if row.span > 0.3]
    assert thin
    kept = sum(row.span * row.values[place] for row in samples.rows()) / 9999.75
    assert kept == pytest.approx(samples.mean("gpu0_utilisation"), rel=1e-3)
    assert max(mib for _, mib in samples.series("gpu0_memory_mib")) == 9000
    assert {watts for _, watts in samples.series("gpu0_power_w")} == {50.0}


def test_thinning_never_changes_the_figures():
    samples = fill(Samples(1), 40_000)
    exact = sum(busy(number * 0.25) for number in range(1, 40_000)) / 39_999
    assert samples.mean("gpu0_utilisation") == pytest.approx(exact, rel=1e-12)
    assert samples.peak("gpu0_memory_mib") == 9000
    assert samples.count == 40_000


def test_a_mean_is_weighted_by_time():
    samples = Samples(1)
    for second, use in ((0, 0), (1, 100), (4, 20)):
        samples.add(second, Sample((GpuSample(use),)))
    assert samples.mean("gpu0_utilisation") == (1 * 100 + 3 * 20) / 4


def test_what_was_never_read_is_none():
    samples = Samples(1)
    assert samples.mean("gpu0_power_w") is None
    samples.add(0, Sample((GpuSample(30),)))
    assert samples.mean("gpu0_utilisation") == 30
    assert samples.peak("gpu0_power_w") is None
    assert samples.newest("ram_mib") is None
    assert samples.series("ram_mib") == []


def test_a_lost_gpu_counts_as_long_as_it_was_there():
    samples = Samples(1)
    samples.add(0, Sample((GpuSample(80, 500),)))
    samples.add(1, Sample((GpuSample(80, 500),)))
    samples.add(100, Sample((GpuSample(),), lost=(0,)))
    assert samples.mean("gpu0_utilisation") == 80


def test_the_file_says_what_was_read(tmp_path):
    samples = fill(Samples(1), 6)
    samples.write_csv(tmp_path / "monitor.csv")
    with (tmp_path / "monitor.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["time_s", "wall", *samples.columns]
    assert [row["time_s"] for row in rows] == ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25"]
    assert rows[4]["gpu0_utilisation"] == str(busy(1))
    assert (rows[4]["ram_mib"], rows[5]["ram_mib"]) == ("4000", "")
    assert datetime.fromisoformat(rows[4]["wall"]).timestamp() == BEGAN + 1
    assert [file.name for file in tmp_path.iterdir()] == ["monitor.csv"]


def test_the_rows_of_an_earlier_process_stay_in_the_file_but_not_in_the_figures(tmp_path):
    file = tmp_path / "monitor.csv"
    fill(Samples(1), 40).write_csv(file)
    gpus, earlier = read_csv(file)
    again = Samples(max(gpus, 2))  # the machine has two cards now
    again.restore(earlier)
    for second in range(3):
        again.add(second, Sample((GpuSample(7, 70), GpuSample(8, 80))), BEGAN + 5000 + second)
    again.write_csv(file)
    _, rows = read_csv(file)
    assert len(rows) == 43
    assert [row["time_s"] for row in rows[39:]] == ["9.75", "9.75", "10.75", "11.75"]
    assert [row["gpu1_utilisation"] for row in rows[39:]] == ["", "8", "8", "8"]
    assert datetime.fromisoformat(rows[-1]["wall"]).timestamp() == BEGAN + 5002
    assert again.peak("gpu0_memory_mib") == 70
    assert [row.seconds for row in again.rows()] == [0, 1, 2]


def test_a_file_that_is_taken_up_again_and_again_stays_bounded(tmp_path):
    file = tmp_path / "monitor.csv"
    sizes = []
    for _ in range(5):
        gpus, earlier = read_csv(file)
        samples = Samples(max(gpus, 1))
        samples.restore(earlier)
        fill(samples, 3000).write_csv(file)
        sizes.append(file.stat().st_size)
        assert samples.nbytes() < 1_000_000
    assert sizes[-1] < 2 * sizes[0]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"time_s,wall\nx,y\n", b"a,b\n1,2\n"])
def test_a_file_that_is_not_ours_is_refused(tmp_path, content):
    file = tmp_path / "monitor.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"monitor\.csv"):
        read_csv(file)


def test_no_file_is_no_rows(tmp_path):
    assert read_csv(tmp_path / "monitor.csv") == (0, [])


def test_a_write_that_fails_leaves_the_file_of_before(tmp_path):
    file = tmp_path / "monitor.csv"
    fill(Samples(1), 4).write_csv(file)
    before = file.read_bytes()
    (tmp_path / "monitor.csv.partial").mkdir()
    with pytest.raises(OSError, match="partial"):
        fill(Samples(1), 9).write_csv(file)
    assert file.read_bytes() == before
