"""Unpacking zip and tar files that nobody vouches for: regular files and folders, nothing else."""

import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGES = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)
DAMAGES += (EOFError, RuntimeError)  # RuntimeError: encrypted, or an unknown compression
LARGEST = 50e9  # bytes unpacked
RATIO = 200  # unpacked to packed
CHUNK = 1 << 20  # bytes


def unpack(archive, folder):
    """Unpack a zip or tar file, and the ones inside it, into a new folder.

    Parameters
    ----------
    archive : path-like
        Its name ends in one of `ARCHIVES`.
    folder : path-like
        Made when there is something to unpack; its parent must exist.

    Raises
    ------
    ValueError
        If the archive is damaged, unpacks to an absurd size, or has a member that is neither a
        regular file nor a folder or whose path leads out of ``folder``.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as file:
                members = [_zip_member(file, entry) for entry in file.infolist()]
                _extract(members, archive, folder)
        else:
            with tarfile.open(archive) as file:
                members = [_tar_member(file, entry) for entry in file]
                _extract(members, archive, folder)
    except DAMAGES as error:
        raise ValueError(f"{archive} is damaged or truncated: {error}") from error
    inside = [path for path in folder.rglob("[!.]*") if path.name.lower().endswith(ARCHIVES)]
    for inner in inside:
        unpack(inner, inner.with_name(stem(inner)))
        inner.unlink()


class _Member(NamedTuple):
    name: str
    size: int
    kind: str  # "file", "folder", or what else it is
    open: object


def _zip_member(file, entry):
    mode = stat.S_IFMT(entry.external_attr >> 16)
    kind = "folder" if entry.is_dir() else "file"
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "symbolic link" if mode == stat.S_IFLNK else "special file"
    return _Member(entry.filename, entry.file_size, kind, lambda: file.open(entry))


def _tar_member(file, entry):
    kind = "folder" if entry.isdir() else "file" if entry.isreg() else "special file"
    kind = "symbolic link" if entry.issym() else "hard link" if entry.islnk() else kind
    return _Member(entry.name, entry.size, kind, lambda: file.extractfile(entry))


def _extract(members, archive, folder):
    for member in members:
        path = PurePosixPath(member.name)
        if member.kind not in ("file", "folder"):
            raise ValueError(f"{archive}: refused, {member.name!r} is a {member.kind}")
        if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\0]", member.name):
            raise ValueError(f"{archive}: refused, {member.name!r} leads out of the folder")
    if len({member.name.casefold() for member in members}) < len(members):
        raise ValueError(f"{archive}: refused, two members have the same name")
    size = sum(member.size for member in members)
    if size > min(LARGEST, max(RATIO * archive.stat().st_size, 1e8)):
        raise ValueError(f"{archive}: refused, it claims to unpack to {size / 1e9:.1f} GB")
    if size > (free := shutil.disk_usage(folder.parent).free):
        raise OSError(f"{archive} needs {size / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free")
    for member in members:
        target = folder / member.name
        (target if member.kind == "folder" else target.parent).mkdir(parents=True, exist_ok=True)
        if member.kind == "file":
            with member.open() as source, target.open("xb") as output:
                shutil.copyfileobj(source, output, CHUNK)


def stem(archive):
    """File name of an archive without its ending, ``.tar.gz`` being one."""
    return re.sub(r"(\.tar)?\.\w+$", "", archive.name)
