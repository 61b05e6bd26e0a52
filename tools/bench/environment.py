"""What tools/setup found, for the scripts beside this file: they start under any python3 and go on under the
interpreter that has ONNX Runtime, NumPy and onnx (WEFT_ORACLE_PYTHON) or OpenVINO too (WEFT_PEERS_PYTHON)."""

import hashlib
import os
import shlex
import sys
import time

sys.dont_write_bytecode = True

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_START = time.monotonic()


def settings():
    path = os.path.join(ROOT, "build", "setup.env")
    if not os.path.exists(path):
        sys.exit(f"{path} is not there: run tools/setup first")
    values = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                values[name] = value
    return values


def enter(which, hint="tools/setup"):
    """Goes on under the interpreter that build/setup.env names."""
    interpreter = settings().get(which)
    if not interpreter or not os.path.exists(interpreter):
        sys.exit(f"{which} is not set up: run {hint}")
    # Not by the interpreter's path: a virtual environment's is a link to the system's.
    if os.environ.get("WEFT_ENTERED") != interpreter:
        os.environ["WEFT_ENTERED"] = interpreter
        for name in ("PYTHONPATH", "PYTHONHOME"):
            os.environ.pop(name, None)
        os.execv(interpreter, [interpreter, "-B", *sys.argv])


def cache_folder(name, script):
    """Where what `script` writes is kept: <cache>/deps/<name>-<key>, the key being of all that decides its content. Asked
    before anything else is imported, since mostly it is there."""
    digest = hashlib.sha256()
    for path in (script, os.path.join(ROOT, "tools/bench/cases.py"), os.path.join(ROOT, "tools/requirements-oracle.txt")):
        with open(path, "rb") as data:
            digest.update(data.read())
    return os.path.join(settings()["WEFT_SETUP_CACHE"], "deps", f"{name}-{digest.hexdigest()[:12]}")


def say(text):
    print(f"[{time.monotonic() - _START:4.0f} s] {text}", file=sys.stderr, flush=True)

