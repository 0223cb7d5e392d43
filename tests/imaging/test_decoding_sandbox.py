"""Decoding untrusted files: what it may cost, what it may break, and that the next is decoded."""

import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.fake_work import photo

from pipeline.config.manifest import starter_styles
from pipeline.config.sections import Limits
from pipeline.errors import InputError, PlaceError, Reason
from pipeline.imaging import decode as decoding
from pipeline.imaging.sandbox import KNOWN_GOOD, Decoder

pytestmark = pytest.mark.slow


@pytest.fixture
def decoder():
    decoder = Decoder(Limits())
    yield decoder
    decoder.close()


@pytest.fixture
def good(tmp_path) -> Path:
    return photo(tmp_path / "good.png")


def open_files() -> int:
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.is_dir() else 0


def code_of(decoder: Decoder, path: Path) -> Reason:
    with pytest.raises(InputError) as caught:
        decoder.probe(path)
    return caught.value.code


def test_pixels_and_metadata_are_those_that_decoding_here_gives(decoder, tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.effect_noise((40, 30), 90).convert("RGBA")
    image.putalpha(Image.effect_noise((40, 30), 90))
    image.save(path, exif=exif)
    there, here = decoder.decode(path, 32), decoding.decode_file(path, 32, decoding.DEFAULT_LIMITS)
    assert np.array_equal(there.rgb, here.rgb)
    assert np.array_equal(there.alpha, here.alpha)
    assert (there.exif, there.xmp, there.icc) == (here.exif, here.xmp, here.icc)


def test_many_files_cost_one_process_and_each_leaves_nothing_behind(decoder, good):
    decoder.probe(good)
    first = decoder.process.pid
    descriptors = open_files()
    for _ in range(20):
        decoder.probe(good)
    assert decoder.process.pid == first
    assert open_files() == descriptors


def test_a_decoder_that_is_killed_is_that_files_failure_and_survives_for_the_next(decoder, good):
    decoder.probe(good)
    os.kill(decoder.process.pid, signal.SIGKILL)
    decoder.process.wait()
    decoder.probe(good)


# --- limits ---------------------------------------------------------------------------------


def bomb(path: Path, side: int, idat: bytes) -> Path:
    """A PNG that declares ``side`` squared pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")
    )
    return path


def test_a_bomb_costs_at_most_the_limits_and_the_next_file_is_good(good, tmp_path):
    zeros = zlib.compress(bytes(9000 * (9000 * 3 + 1)), 1)
    path = bomb(tmp_path / "bomb.png", 9000, zeros)
    began = time.monotonic()
    for limits, code in (
        (Limits(pixels=1_000_000), Reason.TOO_MANY_PIXELS),
        (Limits(decode_bytes=300_000_000), Reason.TOO_LARGE),
        (Limits(decode_bytes=10_000_000), Reason.TOO_LARGE),  # less than a decoder itself takes
        (Limits(decode_seconds=0.02), Reason.DECODE_TIMEOUT),
        (Limits(bytes=1000), Reason.TOO_LARGE),
    ):
        decoder = Decoder(limits)
        try:
            assert code_of(decoder, path) is code
            if limits.decode_seconds > 1 and limits.decode_bytes > 100_000_000:
                decoder.probe(good)
        finally:
            decoder.close()
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", ["gif", "tif", "png", "webp"])
def test_a_film_without_end_is_refused_before_a_picture_of_it_is_decoded(good, tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), (40 * number, 0, 0)) for number in range(6)]
    path = tmp_path / f"film.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    decoder = Decoder(Limits(frames=5))
    try:
        assert code_of(decoder, path) is Reason.TOO_MANY_FRAMES
        decoder.probe(good)
        frames[0].save(path, save_all=True, append_images=frames[1:5])
        assert decoder.decode(path, None).rgb[0, 0, 0] == 0
    finally:
        decoder.close()


def test_what_a_decoder_may_do_is_bounded_for_good(tmp_path):
    """The child's own limits, read from the system while it waits for a pipe to be read."""
    proc = Path("/proc")
    if not (proc / "self/limits").exists():
        pytest.skip("needs /proc")
    path = tmp_path / "large.png"
    Image.effect_noise((1500, 1500), 90).save(path, compress_level=0)
    decoder = Decoder(Limits(decode_bytes=10**9, decode_seconds=30))
    try:
        process = decoder._running()
        request = {"path": os.fsencode(path).hex(), "long_side": None, "pixels": True}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        os.read(process.stdout.fileno(), 1)  # it answers, and then waits: a pipe takes 1 MiB
        children = (proc / str(process.pid) / "task" / str(process.pid) / "children").read_text()
        limits = (proc / children.split()[0] / "limits").read_text()
        wanted = {"Max address space": 10**9, "Max file size": 0, "Max open files": 32}
        wanted |= {"Max cpu time": 31, "Max core file size": 0}
        for line in limits.splitlines():
            for name, value in wanted.items():
                if line.startswith(name):
                    assert int(line[len(name) :].split()[0]) == value
        links = [str(fd.readlink()) for fd in (proc / children.split()[0] / "fd").iterdir()]
        assert [link for link in links if not link.startswith(("pipe:", "/dev/null"))] == []
    finally:
        decoder.close()


@pytest.mark.parametrize(
    "answer",
    [
        b'{"shape": [100000, 100000], "sizes": [30000000000, 0, 0, 0, 0]}\n',
        b'{"shape": [2, 2], "sizes": [13, 0, 0, 0, 0]}\n',
        b'{"shape": [2, 2], "sizes": [-1, 0, 0, 0, 0]}\n',
        b'{"shape": [2, 2], "sizes": [12, 0, 0, 0, 99999999]}\n',
        b'{"error": {"code": "no such code", "kind": "x", "what": "", "hint": ""}}\n',
        b'{"error": 1}\n',
        b"[1]\n",
        b"\xff\xfe\n",
        b"x" * 100_000,
        b'{"shape": [2, 2], "sizes": [12, 0, 0, 0, 0]}\nshort',
    ],
)
def test_an_answer_that_a_broken_in_decoder_makes_up_is_not_believed(good, monkeypatch, answer):
    program = f"import os; os.write(1, b'ready\\n'); os.read(0, 9999); os.write(1, {answer!r})"
    monkeypatch.setattr("pipeline.imaging.sandbox.PROGRAM", program)
    monkeypatch.setattr(Decoder, "_confirm", lambda _: None)  # it is broken for this file only
    decoder = Decoder(Limits())
    with pytest.raises(InputError) as caught:
        decoder.decode(good, None)
    assert caught.value.code is Reason.DECODE_CRASH
    decoder.close()


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        ("raise SystemExit(7)", "exit 7"),
        ("raise ImportError('libjpeg.so.8: no such file')", "ImportError: libjpeg.so.8"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_decoder_that_does_not_start_names_its_cause_and_blames_no_photo(
    good, monkeypatch, program, cause
):
    monkeypatch.setattr("pipeline.imaging.sandbox.PROGRAM", program)
    with pytest.raises(PlaceError, match="cannot be started") as caught:
        Decoder(Limits()).probe(good)
    assert caught.value.code is Reason.DECODER_UNAVAILABLE
    assert cause in caught.value.what
    assert good.name not in str(caught.value)


# --- a corpus of broken files ---------------------------------------------------------------


def corpus(folder: Path, rng: random.Random) -> list[Path]:
    """Pictures of all kinds, cut, flipped and lied about."""
    plain = Image.effect_noise((64, 48), 80).convert("RGB")
    kinds = {
        "jpg": {}, "png": {}, "webp": {}, "tif": {"compression": "tiff_lzw"}, "bmp": {}, "gif": {},
    }  # fmt: skip
    paths = []
    for kind, options in kinds.items():
        whole = io.BytesIO()
        exif = Image.Exif()
        exif[0x010E] = "x" * 5000
        more = (
            {"exif": exif, "icc_profile": b"no profile"} if kind in ("jpg", "png", "webp") else {}
        )
        plain.save(whole, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()), **options, **more)
        data = whole.getvalue()
        for part in range(1, 12):
            paths.append(write(folder / f"cut-{part}.{kind}", data[: len(data) * part // 12]))
        for number in range(12):
            flipped = bytearray(data)
            for _ in range(1 + number):
                flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            paths.append(write(folder / f"flip-{number}.{kind}", bytes(flipped)))
        paths.append(write(folder / f"tail.{kind}", data + rng.randbytes(500)))
    paths.append(bomb(folder / "bomb.png", 60_000, zlib.compress(b"")))
    paths.append(bomb(folder / "short.png", 3000, zlib.compress(bytes(1000))))
    paths.append(write(folder / "noise.jpg", b"\xff\xd8\xff" + rng.randbytes(5000)))
    paths.append(write(folder / "script.gif", b"GIF89a<script>alert(1)</script>"))
    return paths


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def resident(process: int) -> int:
    """kB of memory; 0 where it is unknown."""
    try:
        return int(Path(f"/proc/{process}/status").read_text().split("VmRSS:")[1].split()[0])
    except OSError:
        return 0


def test_the_decoder_survives_a_corpus_of_broken_files_and_its_memory_stays_flat(
    decoder, good, tmp_path
):
    paths = corpus(tmp_path, random.Random(11))
    decoder.probe(good)
    before = resident(decoder.process.pid), resident(os.getpid())
    found = {"good": 0}
    for path in paths:
        try:
            decoder.probe(path)
            found["good"] += 1
        except InputError as error:
            found[error.code] = found.get(error.code, 0) + 1
    decoder.probe(good)
    after = resident(decoder.process.pid), resident(os.getpid())
    print(f"{len(paths)} files: {found}; memory {before} -> {after} kB")
    assert set(found) <= {
        *("good", Reason.TRUNCATED, Reason.UNSUPPORTED_FORMAT, Reason.TOO_MANY_PIXELS),
        *(Reason.DECODE_CRASH, Reason.TOO_LARGE),
    }
    assert found[Reason.TRUNCATED] > 20
    assert max(after[0] - before[0], after[1] - before[1]) < 20_000


def test_a_decoder_process_loads_neither_models_nor_the_engine():
    program = (
        "import sys; import pipeline.imaging.sandbox_child; from pipeline.imaging import decode;"
        "decode.warm_up();"
        "print({'torch', 'pydantic', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_the_picture_that_confirms_the_decoder_is_one_that_ships_with_the_package():
    assert KNOWN_GOOD in starter_styles().values()
