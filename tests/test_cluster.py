"""Diagrams by parts: the same shards, whoever computes them, and nothing twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

from phutils import cluster
from phutils.artifacts import ROOT
from phutils.dataset import load
from phutils.diagrams import SHARD, persistence_diagrams
from phutils.frames import FrameError

OWN = ROOT / "data" / "examples" / "own.extxyz"


@pytest.fixture(autouse=True)
def stored_elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture(scope="module")
def structures(tmp_path_factory):
    os.environ["PHUTILS_DATA"] = str(tmp_path_factory.getbasetemp() / "data")
    found = load(OWN)
    del os.environ["PHUTILS_DATA"]
    return found[np.arange(60) % 54]  # two shards, the second one short


@pytest.fixture(scope="module")
def whole(structures, tmp_path_factory):
    """Folder with the shards of all frames, made in one go."""
    folder = tmp_path_factory.mktemp("whole")
    persistence_diagrams(structures, folder=folder, progress=False, n_jobs=1)
    return folder


def shards(folder):
    return {file.name: file.read_bytes() for file in sorted(Path(folder, "cache").glob("*.npz"))}


@pytest.mark.parametrize("n_frames", [0, 1, SHARD, SHARD + 1, 1000, 16830])
@pytest.mark.parametrize("parts", [1, 2, 7, 400])
def test_parts_are_whole_shards_and_leave_nothing_out(n_frames, parts):
    slices = [cluster.part_of(n_frames, k, parts) for k in range(1, parts + 1)]
    frames = [i for part in slices for i in range(n_frames)[part]]
    assert frames == list(range(n_frames))
    assert all(part.start % SHARD == 0 or part.start == n_frames for part in slices)
    sizes = [-(-(part.stop - part.start) // SHARD) for part in slices]
    assert max(sizes) - min(sizes) <= 1  # no job has much more to do than another


@pytest.mark.parametrize(("part", "parts"), [(0, 3), (4, 3), (1, 0)])
def test_a_part_that_is_not_there_is_refused(part, parts):
    with pytest.raises(ValueError, match=f"part {part} of {parts}: count from 1"):
        cluster.part_of(100, part, parts)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_filled_folder_is_the_one_of_the_whole_run(structures, whole, tmp_path, n_jobs):
    found = cluster.fill(structures, tmp_path, n_jobs=n_jobs, progress=False)
    assert shards(tmp_path) == shards(whole) and len(shards(whole)) == 2
    diagrams = persistence_diagrams(structures, folder=whole, progress=False)
    pairs = sum(diagrams.counts(k).sum() for k in diagrams.degrees)
    assert (found["frames"], found["shards"], found["pairs"]) == (60, 2, pairs)
    assert found["failed"] == {} and found["cpu_s"] > 0.1


def test_what_is_there_is_not_computed_again(structures, whole, monkeypatch):
    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr("phutils.diagrams._diagram", never)
    assert cluster.fill(structures, whole, progress=False)["frames"] == 60
    with pytest.raises(AssertionError, match="computed again"):
        cluster.fill(structures[1:3], whole, progress=False)


def test_a_bad_frame_is_named_by_its_place_in_the_whole(structures, tmp_path):
    atoms = list(structures[:SHARD]) + [structures[0], structures[1]]
    atoms[SHARD + 1].positions[5] = np.nan
    with pytest.raises(FrameError, match=f"^frame {SHARD + 1}: position of atom 5"):
        cluster.fill(atoms, tmp_path, progress=False)
    found = cluster.fill(atoms, tmp_path, errors="skip", progress=False)
    assert list(found["failed"]) == [SHARD + 1] and found["frames"] == SHARD + 2
    with pytest.raises(ValueError, match="unknown errors 'ignore'"):
        cluster.fill(atoms, tmp_path, errors="ignore")


def test_parts_on_the_command_line_fill_one_folder(tmp_path, capsys):
    for part in ("2", "1"):
        note = tmp_path / f"{part}.json"
        line = ["diagrams", str(OWN), "--part", part, "2", "--folder", str(tmp_path)]
        assert cluster.main([*line, "--output", str(note)]) == 0
        assert json.loads(note.read_text()) == json.loads(capsys.readouterr().out)
    assert json.loads(note.read_text())["frames"] == SHARD
    before = shards(tmp_path)
    assert len(persistence_diagrams(load(OWN), folder=tmp_path, progress=False)) == 60
    assert shards(tmp_path) == before and len(before) == 2
    assert cluster.main(["store", str(OWN)]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == load(OWN).fingerprint


def test_without_a_folder_the_shards_go_where_the_chapters_look(tmp_path, monkeypatch, capsys):
    from phutils import artifacts

    monkeypatch.setenv("PHUTILS_BUILD", str(tmp_path))
    assert cluster.main(["diagrams", str(OWN), "--part", "2", "2"]) == 0
    assert len(shards(artifacts.folder(str(OWN)))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["store", "nowhere.extxyz"], "nowhere.extxyz does not exist"),
        (["diagrams", str(OWN), "--part", "3", "2"], "part 3 of 2"),
        (["store", str(OWN), "--energy-key", "E"], "no energy under 'E'"),
    ],
)
def test_wrong_arguments_end_with_one_line(arguments, message, capsys):
    assert cluster.main(arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ") and message in lines[-1]


# --- Dask ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dask():
    """A scheduler with two workers of one thread each, on this machine."""
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as local, distributed.Client(local) as client:
        yield client


def test_dask_workers_compute_the_same_shards(dask, structures, whole, tmp_path):
    with joblib.parallel_config(backend="dask"):
        found = cluster.fill(structures, tmp_path, progress=False)
    assert shards(tmp_path) == shards(whole)
    assert found["frames"] == 60 and found["cpu_s"] > 0.1
    log = dask.cluster.scheduler.transition_log
    finished = [e for e in log if "_shard" in str(e.key) and e.finish == "memory"]
    assert len(finished) == 2  # it was the scheduler that had them done


def test_dask_workers_name_a_bad_frame(dask, structures, tmp_path):
    atoms = [structures[0], structures[1]]
    atoms[1].positions[5] = np.nan
    with (
        joblib.parallel_config(backend="dask"),
        pytest.raises(FrameError, match="^frame 1: position of atom 5"),
    ):
        cluster.fill(atoms, tmp_path, progress=False)


def test_the_command_line_finds_a_scheduler(dask, tmp_path, capsys):
    line = ["diagrams", str(OWN), "--folder", str(tmp_path), "--part", "2", "2"]
    assert cluster.main([*line, "--dask", dask.cluster.scheduler_address]) == 0
    assert json.loads(capsys.readouterr().out)["shards"] == 1 == len(shards(tmp_path))


# --- Snakemake -----------------------------------------------------------------------------------


@pytest.fixture
def snakemake(tmp_path):
    """Run the workflow on the example; `SNAKEMAKE` names the program where it is not on PATH."""
    program = os.environ.get("SNAKEMAKE") or shutil.which("snakemake")
    if not program:
        pytest.skip("snakemake is neither on PATH nor named in SNAKEMAKE")

    def run(*arguments):
        config = [
            f"sources=[{OWN}]",
            "parts=2",
            f"out={tmp_path}/notes",
            f"python={sys.executable}",
        ]
        command = [program, "-s", str(ROOT / "cluster" / "Snakefile"), *arguments]
        environment = os.environ | {"PHUTILS_BUILD": str(tmp_path)}
        command += ["--directory", str(tmp_path), "--config", *config]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


def test_workflow_computes_all_parts_once(snakemake, tmp_path):
    done = snakemake("--cores", "2")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "notes" / "summary.json").read_text())
    assert (summary["frames"], summary["shards"], summary["failed"]) == (60, 2, 0)
    assert len(list(tmp_path.glob("artifacts/*/cache/*.npz"))) == 2
    assert "Nothing to be done" in snakemake("--cores", "2").stderr


def test_workflow_profile_for_slurm_is_understood(snakemake):
    planned = snakemake("-n", "--workflow-profile", str(ROOT / "cluster" / "profile"))
    if "slurm" in planned.stderr and "invalid choice" in planned.stderr:
        pytest.skip("snakemake-executor-plugin-slurm is not installed")
    assert planned.returncode == 0, planned.stderr
    assert "mem_mb=2000" in planned.stdout and "runtime=60" in planned.stdout
