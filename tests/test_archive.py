import io
import stat
import tarfile
import zipfile

import pytest

from phutils.archive import stem, unpack

ENDINGS = ["zip", "tar", "tar.gz", "tar.xz"]
LINKS = {"symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE}


def make(path, members, kind=None):
    """Write an archive of ``(name, content)``; ``kind`` turns the last member into a link."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for number, (name, content) in enumerate(members, start=1):
                entry = zipfile.ZipInfo(name)
                entry.filename = name
                entry.compress_type = zipfile.ZIP_DEFLATED
                if kind and number == len(members):
                    entry.create_system = 3
                    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                file.writestr(entry, content)
        return path
    with tarfile.open(path, "w:" + path.name.split(".")[-1].replace("tar", "")) as file:
        for number, (name, content) in enumerate(members, start=1):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if kind and number == len(members):
                entry.type, entry.size, entry.linkname = LINKS[kind], 0, content.decode()
            file.addfile(entry, io.BytesIO(content))
    return path


def files_below(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.xyz")}


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_and_folders_come_out(tmp_path, ending):
    members = [("a/x.xyz", b"1" * 300_000), ("a/b c/ü.xyz", b"2"), ("y.xyz", b"")]
    archive = make(tmp_path / f"data.{ending}", members)
    unpack(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == dict(members)


def test_archives_inside_are_unpacked_too(tmp_path):
    inner = make(tmp_path / "216atom_crystal.tar.gz", [("x.xyz", b"1")])
    outer = make(tmp_path / "data.zip", [("deep/216atom_crystal.tar.gz", inner.read_bytes())])
    unpack(outer, tmp_path / "out")
    assert files_below(tmp_path / "out") == {"deep/216atom_crystal/x.xyz": b"1"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "name", ["../evil.xyz", "a/../../evil.xyz", "/tmp/evil.xyz", "..\\evil.xyz", "C:\\evil.xyz"]
)
def test_paths_that_lead_out_are_refused(tmp_path, ending, name):
    archive = make(tmp_path / f"data.{ending}", [("good.xyz", b"1"), (name, b"2")])
    with pytest.raises(ValueError, match=r"refused, '.*evil\.xyz' leads out of the folder"):
        unpack(archive, tmp_path / "deep" / "out")
    assert not files_below(tmp_path)  # not even the good one


@pytest.mark.parametrize(
    ("ending", "kind"),
    [("zip", "symbolic link"), ("tar", "symbolic link"), ("tar.gz", "hard link")],
)
def test_links_are_refused(tmp_path, ending, kind):
    members = [("good.xyz", b"1"), ("link.xyz", b"/etc/passwd")]
    archive = make(tmp_path / f"data.{ending}", members, kind)
    with pytest.raises(ValueError, match=f"refused, 'link.xyz' is a {kind}"):
        unpack(archive, tmp_path / "out")
    assert not files_below(tmp_path)


def test_special_files_are_refused(tmp_path):
    with tarfile.open(tmp_path / "data.tar", "w") as file:
        entry = tarfile.TarInfo("pipe")
        entry.type = tarfile.FIFOTYPE
        file.addfile(entry)
    with pytest.raises(ValueError, match="'pipe' is a special file"):
        unpack(tmp_path / "data.tar", tmp_path / "out")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_truncated_archives_are_refused(tmp_path, ending, kept):
    noise = bytes(range(256)) * 997
    archive = make(tmp_path / f"data.{ending}", [("x.xyz", noise), ("y.xyz", noise[::-1])])
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=f"data.{ending} is damaged or truncated"):
        unpack(archive, tmp_path / "out")


def test_a_flipped_bit_is_noticed(tmp_path):
    archive = make(tmp_path / "data.zip", [("x.xyz", bytes(range(256)) * 100)])
    content = bytearray(archive.read_bytes())
    content[100] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or truncated"):
        unpack(archive, tmp_path / "out")


def test_absurd_sizes_are_refused(tmp_path):
    archive = make(tmp_path / "data.zip", [("x.xyz", b"\0" * 150_000_000)])
    assert archive.stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"claims to unpack to 0\.1 GB"):
        unpack(archive, tmp_path / "out")
    assert not files_below(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("x.xyz", "x.xyz"), ("x.xyz", "X.XYZ")])
def test_two_members_of_one_name_are_refused(tmp_path, names):
    archive = make(tmp_path / "data.zip", [(name, b"1") for name in names])
    with pytest.raises(ValueError, match="two members have the same name"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.zip", "a"), ("a.tar.gz", "a"), ("a.b.tgz", "a.b"), ("216atom.v2.tar", "216atom.v2")],
)
def test_stem(tmp_path, name, expected):
    assert stem(tmp_path / name) == expected
