"""Times of one call of a model, in ms, for what measures weft beside other engines on the CPU."""

import json
import subprocess
import time

import onnxruntime as ort


def timed(call, seconds):
    """Milliseconds of each call, at least three."""
    call()
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def onnxruntime_call(path, feeds, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    run = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: run.run(None, feeds)


def weft_times(path, shapes, args):
    """(min, median). The program measures itself: its own process, kernels from the cache after the first round."""
    command = [args.weft, "bench", path, "--threads", str(args.threads), "--warmup", "3", "--duration", str(args.seconds), "--json"]
    for name, dims in shapes.items():
        command += ["--shapes", f"{name}={'x'.join(map(str, dims))}"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr.strip().splitlines()[-1] if result.stderr else f"exit {result.returncode}")
    latency = json.loads(result.stdout)["latency_ms"]
    return latency["min"], latency["median"]
