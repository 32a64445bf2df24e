# SPDX-License-Identifier: MIT
"""What a request costs, in guest instructions, which are counted and hardly vary: no seconds here."""
import bench_count
import bench_features

VARIES = "sleepers", (2, 2)  # by how the host schedules the two CPUs


def test_rings_and_queues(tmp_path):
    """A packed ring costs no more than a split one, a queue a CPU on two CPUs little more than one queue on one."""
    rings = [ring for ring in bench_features.RINGS if ring[2]]
    figures = bench_features.measure(bench_count.plugin(tmp_path), 3, tmp_path, rings, [(1, 1), (2, 2)])
    assert len(figures) == 4 and all(figure > 0 for row in figures.values() for figure in row.values())
    for row in figures.values():
        row.pop(VARIES)
    assert not list(bench_features.complaints(figures)), figures
