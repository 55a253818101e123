#!/usr/bin/env python3
"""Records what the Python agents of Prefect 0.11.0 to 1.4.1 do, see README.md."""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RELEASES = ["0.11.0", "0.12.6", "0.13.19", "0.14.22", "0.15.13", "1.0.0", "1.2.4", "1.4.1"]


def environment(version, work):
    """Makes the virtual environment of a release, unless it is there with the same requirements."""
    place = work / version
    wanted = "".join((HERE / "requirements" / name).read_text() for name in ("common.txt", version + ".txt"))
    stamp = place / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        pip = [place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "-r", HERE / "requirements" / (version + ".txt")], check=True)
        stamp.write_text(wanted)
    return place / "bin" / "python"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parents[1] / "conformance" / "releases", help="where the cases are written")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser.add_argument("--work", type=pathlib.Path, default=cache / "prefect-kube" / "record", help="where the virtual environments are")
    parser.add_argument("release", nargs="*", default=RELEASES)
    args = parser.parse_args()
    for version in args.release:
        python = environment(version, args.work)
        out = args.out / version
        shutil.rmtree(out, ignore_errors=True)
        # The order of Python's sets depends on the seed of its hashes.
        subprocess.run([python, "-W", "ignore", HERE / "worker.py", version, out], check=True, env={
            "PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
        })
        count = {folder.name: len(list(folder.glob("*.json"))) for folder in sorted(out.iterdir())}
        print(version, count, flush=True)


if __name__ == "__main__":
    main()
