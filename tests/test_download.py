import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from fake_zenodo import zenodo

from phutils import download
from phutils.zenodo import RECORD

CONTENT = np.random.default_rng(0).bytes(3_000_000)
HALF = 85 * download.CHUNK
THIRD = 50 * download.CHUNK


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)


def get(server, folder):
    (file,) = download.record_files(RECORD, folder, server.url)
    return download.download(file, folder / "download")


def kept(folder):
    return [path.name for path in (folder / "download").iterdir()]


def test_download_and_leave_alone(tmp_path):
    with zenodo({"a.zip": CONTENT}) as server:
        path = get(server, tmp_path)
        assert path == tmp_path / "download" / "a.zip"
        assert path.read_bytes() == CONTENT
        assert get(server, tmp_path) == path
        assert server.ranges == [None]
    assert kept(tmp_path) == ["a.zip"]


def test_broken_connections_are_continued_in_the_same_call(tmp_path):
    with zenodo({"a.zip": CONTENT}, cuts=[HALF, THIRD]) as server:
        assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-", f"bytes={HALF + THIRD}-"]
    assert kept(tmp_path) == ["a.zip"]


def test_a_server_that_keeps_breaking_off(tmp_path):
    step, n = 2 * download.CHUNK, download.ATTEMPTS
    with zenodo({"a.zip": CONTENT}, cuts=[step] * n) as server:
        with pytest.raises(ConnectionError, match=r"a\.zip.*\.part is kept, calling again contin"):
            get(server, tmp_path)
        assert len(server.ranges) == n
        assert not (tmp_path / "download" / "a.zip").exists()
        assert get(server, tmp_path).read_bytes() == CONTENT
        assert server.ranges[-1] == f"bytes={step * n}-"


def test_a_server_without_ranges_starts_again(tmp_path):
    with zenodo({"a.zip": CONTENT}, cuts=[HALF], honour_range=False) as server:
        assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_killed_process_then_resume(tmp_path):
    """kill -9 while bytes are arriving; the next call asks for the rest only."""
    code = (
        "import sys, time; from pathlib import Path; from phutils import download\n"
        "folder = Path(sys.argv[1])\n"
        "real = download.tqdm.update\n"
        "def slow(self, n):\n"
        "    time.sleep(0.02); return real(self, n)\n"
        "download.tqdm.update = slow\n"
        f"(file,) = download.record_files({RECORD}, folder, sys.argv[2])\n"
        "download.download(file, folder / 'download')\n"
    )
    with zenodo({"a.zip": CONTENT}) as server:
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), server.url])
        end = time.monotonic() + 15
        while time.monotonic() < end:
            if any(p.stat().st_size > 200_000 for p in tmp_path.glob("download/*.part")):
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        (part,) = tmp_path.glob("download/*.part")
        size = part.stat().st_size
        assert 200_000 < size < len(CONTENT)
        assert get(server, tmp_path).read_bytes() == CONTENT
        assert server.ranges == [None, f"bytes={size}-"]


def test_wrong_checksum_keeps_nothing(tmp_path):
    with zenodo({"a.zip": CONTENT}, checksums={"a.zip": "md5:" + "0" * 32}) as server:
        with pytest.raises(ValueError, match=r"a\.zip/content has a wrong checksum.*0{32}"):
            get(server, tmp_path)
        assert kept(tmp_path) == []


def test_a_spoiled_beginning_ends_in_a_wrong_checksum_then_in_success(tmp_path):
    with zenodo({"a.zip": CONTENT}) as server:
        (file,) = download.record_files(RECORD, tmp_path, server.url)
        (tmp_path / "download").mkdir()
        part = tmp_path / "download" / f"a.zip.{file.checksum[-8:]}.part"
        part.write_bytes(b"\0" * 1000)
        with pytest.raises(ValueError, match="wrong checksum"):
            get(server, tmp_path)
        assert get(server, tmp_path).read_bytes() == CONTENT


def test_more_than_announced_is_refused(tmp_path):
    with zenodo({"a.zip": CONTENT}) as server:
        server.record["files"][0]["size"] -= 500_000
        with pytest.raises(ValueError, match="longer than the 2500000 bytes"):
            get(server, tmp_path)
    assert kept(tmp_path) == []


def test_refusals_of_the_server(tmp_path):
    with zenodo({"a.zip": CONTENT}) as server:
        (file,) = download.record_files(RECORD, tmp_path, server.url)
        server.status = [503, 429]  # come back later
        path = download.download(file, tmp_path / "download")
        assert path.read_bytes() == CONTENT
        path.unlink()
        server.status = [404, 404]
        with pytest.raises(ConnectionError, match="404"):
            download.download(file, tmp_path / "download")
        assert server.status == [404]  # not asked again


def test_no_server(tmp_path):
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9/api/records/7905585 cannot be"):
        download.record_files(RECORD, tmp_path, "http://127.0.0.1:9")
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda record: record.pop("files"), "unexpected record.*files"),
        (lambda record: record["files"][0].pop("links"), "unexpected record.*links"),
        (lambda record: record["files"][0].update(checksum="sha1:12"), "unexpected record"),
        (lambda record: record["files"][0].update(key="../a.zip"), r"unsafe name '\.\./a\.zip'"),
        (lambda record: record["files"][0].update(key="a.pdf"), "lists no archive"),
    ],
)
def test_records_that_are_not_understood(tmp_path, spoil, message):
    with zenodo({"a.zip": CONTENT}) as server:
        spoil(server.record)
        with pytest.raises(ValueError, match=message):
            download.record_files(RECORD, tmp_path, server.url)
    assert not (tmp_path / "record.json").exists()


def test_the_record_is_asked_for_once(tmp_path):
    with zenodo({"a.zip": CONTENT, "readme.txt": b"text"}) as server:
        first = download.record_files(RECORD, tmp_path, server.url)
    assert download.record_files(RECORD, tmp_path, server.url) == first
    assert [(file.name, file.size) for file in first] == [("a.zip", len(CONTENT))]
