"""What tools/setup found, for the scripts beside this file: they start under any python3 and go on under the
interpreter that has ONNX Runtime, NumPy and onnx (WEFT_ORACLE_PYTHON) or OpenVINO too (WEFT_PEERS_PYTHON). Where
tools/setup never ran, as on a borrowed GPU machine, they run under the interpreter that started them and use its onnx."""

import hashlib
import importlib.util
import os
import shlex
import sys
import time

sys.dont_write_bytecode = True

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_START = time.monotonic()


SETUP = os.path.join(ROOT, "build", "setup.env")


def settings():
    if not os.path.exists(SETUP):
        package = importlib.util.find_spec("onnx")
        if not package:
            sys.exit(f"{SETUP} is not there, and this python3 has no onnx: run tools/setup first")
        return {"WEFT_ONNX_SRC": os.path.dirname(os.path.dirname(package.origin)),
                "WEFT_SETUP_CACHE": os.path.expanduser("~/.cache/weft")}
    values = {}
    with open(SETUP, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                values[name] = value
    return values


def enter(which, hint="tools/setup"):
    """Goes on under the interpreter that build/setup.env names."""
    if not os.path.exists(SETUP):
        return
    interpreter = settings().get(which)
    if not interpreter or not os.path.exists(interpreter):
        sys.exit(f"{which} is not set up: run {hint}")
    # Not by the interpreter's path: a virtual environment's is a link to the system's.
    if os.environ.get("WEFT_ENTERED") != interpreter:
        os.environ["WEFT_ENTERED"] = interpreter
        for name in ("PYTHONPATH", "PYTHONHOME"):
            os.environ.pop(name, None)
        os.execv(interpreter, [interpreter, "-B", *sys.argv])


def cache_folder(name, *scripts):
    """Where what the scripts write is kept: <cache>/deps/<name>-<key>, the key being of all that decides its content. Asked
    before anything else is imported, since mostly it is there."""
    digest = hashlib.sha256()
    for path in (*scripts, os.path.join(ROOT, "tools/bench/cases.py"), os.path.join(ROOT, "tools/requirements-oracle.txt")):
        with open(path, "rb") as data:
            digest.update(data.read())
    return os.path.join(settings()["WEFT_SETUP_CACHE"], "deps", f"{name}-{digest.hexdigest()[:12]}")


def say(text):
    print(f"[{time.monotonic() - _START:4.0f} s] {text}", file=sys.stderr, flush=True)

