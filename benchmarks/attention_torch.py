"""Attention, forward and backward, against torch.nn.functional.scaled_dot_product_attention; one thread each, in turns.

    clang -O2 -ISources/CMRPKernels/include benchmarks/kernels.c Sources/CMRPKernels/*.c -lm -lpthread -o /tmp/kernels
    taskset -c 0 python benchmarks/attention_torch.py /tmp/kernels

Both sides start from a fused qkv of batch x tokens x 3 x heads x head_dim, as a ViT's linear layer makes it, and end with its
gradient. Times are the best of all rounds, in microseconds of processor time.
"""

import re
import subprocess
import sys
import time

import torch

ROUNDS = 3
LINE = re.compile(r"attention_(forward|backward)\s+(\d+)x(\d+)x(\d+)x(\d+)\s+([\d.]+) us")


def torch_times(batch, tokens, heads, head_dim):
    qkv = torch.randn(batch, tokens, 3, heads, head_dim, requires_grad=True)
    gradient = torch.randn(batch, tokens, heads * head_dim)
    forward = backward = float("inf")
    end = time.thread_time() + 0.3
    while forward == float("inf") or time.thread_time() < end:
        qkv.grad = None
        start = time.thread_time()
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        out = out.transpose(1, 2).reshape(batch, tokens, heads * head_dim)
        middle = time.thread_time()
        out.backward(gradient)
        backward = min(backward, time.thread_time() - middle)
        forward = min(forward, middle - start)
    return forward * 1e6, backward * 1e6


def main():
    torch.set_num_threads(1)
    ours, theirs = {}, {}
    for _ in range(ROUNDS):
        printed = subprocess.run([sys.argv[1], "best", "attention"], capture_output=True, text=True, check=True).stdout
        for direction, *shape, time_us in LINE.findall(printed):
            key = tuple(map(int, shape))
            mine = ours.setdefault(key, {})
            mine[direction] = min(mine.get(direction, float("inf")), float(time_us))
        for key in ours:
            times = torch_times(*key)
            theirs[key] = tuple(map(min, zip(theirs.get(key, times), times)))
    print(f"{'batch, tokens, heads, head_dim':32}{'forward':>10}{'torch':>10}{'backward':>10}{'torch':>10}{'ratio':>8}")
    for key, mine in ours.items():
        total, peer = sum(mine.values()), sum(theirs[key])
        print(f"{key!s:32}{mine['forward']:10.0f}{theirs[key][0]:10.0f}{mine['backward']:10.0f}{theirs[key][1]:10.0f}{peer / total:7.1f}x")


if __name__ == "__main__":
    main()
