"""A server that speaks Zenodo's record API, and small archives in the layout of the paper's."""

import hashlib
import json
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from phutils.simulate import DENSITIES
from phutils.store import cell_length
from phutils.zenodo import RECORD

STAGES = ("buffer_high", "buffer_low", "quench2")


@contextmanager
def zenodo(files, checksums=None, cuts=(), honour_range=True, status=()):
    """Serve ``{name: bytes}`` as the files of the record; yields the server.

    ``cuts`` lists after how many bytes the next answers break off, ``status`` the codes of the
    next refusals, ``server.ranges`` records the Range header of each request for content.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            if server.status:
                return self.send_error(server.status.pop(0))
            if self.path == f"/api/records/{RECORD}":
                return self.answer(200, json.dumps(server.record).encode())
            name = self.path.removeprefix(f"/api/records/{RECORD}/files/").removesuffix("/content")
            if name not in files:
                return self.send_error(404)
            wanted = self.headers.get("Range")
            server.ranges.append(wanted)
            if wanted is None or not honour_range:
                return self.answer(200, files[name])
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            span = f"bytes {start}-{len(files[name]) - 1}/{len(files[name])}"
            return self.answer(206, files[name][start:], {"Content-Range": span})

        def answer(self, code, body, headers=None):
            self.send_response(code)
            for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
                self.send_header(key, value)
            self.end_headers()
            if self.path.endswith("content") and server.cuts:
                body = body[: server.cuts.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.ranges, server.cuts, server.status = [], list(cuts), list(status)
    server.record = {
        "id": RECORD,
        "files": [
            {
                "key": name,
                "size": len(content),
                "checksum": (checksums or {}).get(name, "md5:" + hashlib.md5(content).hexdigest()),
                "links": {"self": f"{server.url}/api/records/{RECORD}/files/{name}/content"},
            }
            for name, content in files.items()
        ],
    }
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def xyz_frame(n_atoms, density, stage, energy, rng):
    """Text of one frame: a rattled simple cubic lattice, with forces as in the archive."""
    n = round(n_atoms ** (1 / 3))
    length = cell_length(n_atoms, density)
    grid = (np.stack(np.indices((n, n, n)), axis=-1).reshape(-1, 3) + 0.5) * (length / n)
    columns = np.hstack([grid + rng.normal(0, 0.1, grid.shape), rng.normal(size=grid.shape)])
    lattice = f"{length:.9f} 0.0 0.0 0.0 {length:.9f} 0.0 0.0 0.0 {length:.9f}"
    comment = (
        f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 energy={energy:.8f} '
        f'free_energy={energy - 0.01:.8f} process={stage} density={density} pbc="T T T"'
    )
    body = ("C " + 6 * " %16.8f" + "\n") * n_atoms % tuple(columns.ravel())
    return f"{n_atoms}\n{comment}\n{body}"


def paper_archive(folder, densities=DENSITIES, n_test=160, seed=0):
    """Write the folders of the archive: 6 runs, 3 frames per density and run, one split.

    Frames 0 and 156 of ``test.xyz`` have the energies known of the real ones.
    """
    rng = np.random.default_rng(seed)
    runs = [
        [
            xyz_frame(216, density, stage, -1900 + rng.normal(0, 100), rng)
            for density in densities
            for stage in STAGES
        ]
        for _ in range(6)
    ]
    known = xyz_frame(216, 3.5, "quench2", -1970.32638997, rng)
    other = xyz_frame(216, 2.6, "buffer_high", -1657.61773265, rng)
    runs[-1] += [known, other]
    for run, frames in enumerate(runs, start=1):
        _write(folder / "216atom_amorphous" / f"run_{run}.xyz", frames)
    amorphous = sum(runs, [])
    crystal = [xyz_frame(216, d, "crystal", -1950 - d, rng) for d in densities]
    large = [xyz_frame(512, d, "quench2", -4600 - d, rng) for d in densities]
    _write(folder / "216atom_crystal" / "diamond.xyz", crystal)
    _write(folder / "512atom_amorphous" / "large.xyz", large)
    rest = rng.permutation(len(amorphous) - 2).tolist()
    test = [amorphous[k] for k in rest[: n_test - 2]]
    test.insert(0, known)
    test.insert(156, other)
    _write(folder / "dataset_train_test_split" / "test.xyz", test)
    train = [amorphous[k] for k in rest[n_test - 2 :]]
    _write(folder / "dataset_train_test_split" / "train.xyz", train)
    return folder


def _write(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(frames))


def zip_folder(folder, target, prefix=""):
    """Zip a folder; ``prefix`` is put before every name."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for path in sorted(folder.rglob("*.xyz")):
            file.write(path, f"{prefix}{path.relative_to(folder)}")
    return target
