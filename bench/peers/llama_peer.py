"""llama.cpp on the CPU as a peer: runs a GGUF once for every line on stdin, prints one JSON object
each time.

A line is {"ids": [...], "tokens": n}; the answer {"seconds", "decode", "ids"}: the prompt and
`tokens` greedy tokens, and the tokens after the first. `pip install llama-cpp-python` builds it
where there is no wheel.
"""

import argparse
import json
import sys
import time

import llama_cpp


def run(model, ids, tokens):
    model.reset()
    start = time.monotonic()
    model.eval(ids)
    chosen = [model.sample(temp=0.0)]
    first = time.monotonic()
    for _ in range(tokens - 1):
        model.eval(chosen[-1:])
        chosen.append(model.sample(temp=0.0))
    end = time.monotonic()
    return {"seconds": end - start, "decode": end - first, "ids": chosen}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    threads = {"n_threads": arguments.threads, "n_threads_batch": arguments.threads}
    model = llama_cpp.Llama(arguments.model, n_ctx=512, n_batch=512, n_gpu_layers=0, verbose=False, **threads)
    print(json.dumps({"llama-cpp-python": llama_cpp.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(run(model, request["ids"], request["tokens"])), flush=True)


main()
