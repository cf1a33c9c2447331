"""Files of a Zenodo record: listed by its API, downloaded so that a broken download continues."""

import json
import logging
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from phutils.archive import ARCHIVES

ZENODO = "https://zenodo.org"
ATTEMPTS = 5  # per file and call
PAUSE = 1.0  # s before the second attempt, doubled for each further one
TIMEOUT = 30  # s without an answer or a byte
CHUNK = 1 << 14  # bytes; what a broken connection may lose


class RemoteFile(NamedTuple):
    """One file of a record."""

    name: str
    url: str
    checksum: str  # "md5:<32 hex digits>"
    size: int  # bytes


def record_files(record, home, url=ZENODO):
    """The archives of a record: from the copy of its entry in ``home``, else from Zenodo's API.

    Parameters
    ----------
    record : int
        Number of the record; what Zenodo has published under it never changes.
    home : path-like
        Existing folder for ``record.json``.
    url : str
        The server.

    Returns
    -------
    list of RemoteFile

    Raises
    ------
    ConnectionError
        If the server cannot be reached or refuses.
    ValueError
        If its answer is not a record with archives.
    """
    kept = Path(home) / "record.json"
    address = f"{url.rstrip('/')}/api/records/{record}"
    if kept.exists():
        entry = json.loads(kept.read_text())
    else:
        with _connection(address) as session:
            answer = session.get(address, timeout=TIMEOUT)
            answer.raise_for_status()
            try:
                entry = answer.json()
            except ValueError:
                raise ValueError(f"{address} did not answer with JSON") from None
    try:
        files = [
            RemoteFile(
                name=_safe_name(file["key"]),
                url=file["links"].get("content") or file["links"]["self"],
                checksum="md5:" + re.fullmatch(r"(?:md5:)?([0-9a-f]{32})", file["checksum"])[1],
                size=int(file["size"]),
            )
            for file in entry["files"]
            if file["key"].lower().endswith(ARCHIVES)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{address}: unexpected record, {error!r}") from None
    if not files:
        raise ValueError(f"{address} lists no archive ({', '.join(ARCHIVES)})")
    if not kept.exists():
        partial = kept.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(json.dumps(entry))
        partial.replace(kept)
    return files


def download(file, folder):
    """Download one file, continuing a broken download; a right file is left alone.

    Returns
    -------
    pathlib.Path
        The file, its MD5 checked by pooch.

    Raises
    ------
    ConnectionError
        After several attempts; what has arrived is kept for the next call.
    ValueError
        If the content does not have the published checksum; nothing of it is kept.
    """
    import pooch

    with _quiet(pooch.get_logger()):
        try:
            path = pooch.retrieve(
                file.url, file.checksum, file.name, folder, downloader=_Resume(file, folder)
            )
        except ValueError as error:
            raise ValueError(f"{file.url} has a wrong checksum, try again: {error}") from None
    return Path(path)


class _Resume:
    """Downloader for pooch that keeps what has arrived in ``<name>.<checksum>.part``."""

    def __init__(self, file, folder):
        self.file = file
        self.part = Path(folder) / f"{file.name}.{file.checksum[-8:]}.part"

    def __call__(self, url, output_file, pooch):
        from requests.exceptions import ChunkedEncodingError, Timeout
        from requests.exceptions import ConnectionError as Broken

        with _connection(url, f"{self.part} is kept, calling again continues") as session:
            for attempt in range(ATTEMPTS):
                try:
                    self._continue(session, url)
                    break
                except (Broken, ChunkedEncodingError, ConnectionError, Timeout):
                    if attempt == ATTEMPTS - 1:
                        raise
                    time.sleep(PAUSE * 2**attempt)
        self.part.replace(output_file)

    def _continue(self, session, url):
        done = self.part.stat().st_size if self.part.exists() else 0
        if done == self.file.size:
            return
        headers = {"Accept-Encoding": "identity"}
        if 0 < done < self.file.size:
            headers["Range"] = f"bytes={done}-"
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code >= 500 or answer.status_code == 429:
                raise ConnectionError(f"the server answered {answer.status_code}")
            if answer.status_code == 416:
                self.part.unlink()  # not a beginning of what the server has
            answer.raise_for_status()
            resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
            done = done if answer.status_code == 206 and resumed else 0
            bar = dict(total=self.file.size, initial=done, unit="B", unit_scale=True)
            with (
                self.part.open("ab" if done else "wb") as output,
                tqdm(**bar, desc=self.file.name, leave=False, delay=1, mininterval=2) as progress,
            ):
                for chunk in answer.iter_content(CHUNK):
                    output.write(chunk)
                    progress.update(len(chunk))
                    if output.tell() > self.file.size:
                        self.part.unlink()
                        raise ValueError(f"longer than the {self.file.size} bytes of the record")
        if self.part.stat().st_size < self.file.size:
            raise ConnectionError("the connection was closed early")


@contextmanager
def _connection(url, hint="check the network"):
    import requests

    try:
        with requests.Session() as session:
            yield session
    except (requests.RequestException, ConnectionError) as error:
        raise ConnectionError(f"{url} cannot be downloaded: {error}; {hint}") from None


@contextmanager
def _quiet(logger):
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _safe_name(name):
    if PurePosixPath(name).name != name or "\\" in name or name.startswith("."):
        raise ValueError(f"the record lists a file of unsafe name {name!r}")
    return name
