"""The laboratory's training step in PyTorch eager: the peer of `mk_patch_reconstruction` (same loss, same gradient).

    L = 1/(2N) sum_n sum_r [ (t - h)^2 + kappa sum_p f(a)^2 ],   a = X W^T,  h = sum_p f(a),  t = sum_p f(tau a) (no gradient)

and, with --masks sampled, 1/(2N) sum (t - (1/theta) sum_p eps_p f(a))^2 with a new mask in each step. Then w -= eta g.
Like ours, it computes the inner products once and takes the scaled teacher from them.

    taskset -c 0 python benchmarks/lab/torch_theory.py --threads 1
"""

import argparse
import time

import torch


def smoothed_relu(z, q, radius):
    t = (z / radius).clamp(0, 1)
    return t.pow(q) * (radius / q) + (z - radius).clamp_min(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--patches", type=int, default=64)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--kernels", type=int, default=100)
    parser.add_argument("--power", type=int, default=4)
    parser.add_argument("--masks", choices=["averaged", "sampled"], default="averaged")
    parser.add_argument("--teacher", choices=["scaled", "separate"], default="scaled")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    radius, tau, theta, rate = 0.5, 1.15, 0.5, 0.1
    kappa = 1 / theta - 1
    n, p, d, k = options.samples, options.patches, options.dimension, options.kernels
    x = torch.randn(n * p, d)
    w = (0.05 * torch.randn(k, d)).requires_grad_()
    fixed = 1.15 * w.detach().clone()

    def loss_of(x, w, keep):
        a = x @ w.T
        with torch.no_grad():
            teacher_scores = tau * a if options.teacher == "scaled" else x @ fixed.T
            t = smoothed_relu(teacher_scores, options.power, radius).view(n, p, k).sum(1)
        f = smoothed_relu(a, options.power, radius).view(n, p, k)
        if options.masks == "sampled":
            return ((t - (f * keep).sum(1) / theta) ** 2).sum() / (2 * n)
        return (((t - f.sum(1)) ** 2).sum() + kappa * (f * f).sum()) / (2 * n)

    if options.compile:
        loss_of = torch.compile(loss_of)

    def step():
        keep = (torch.rand(n, p, 1) < theta).float() if options.masks == "sampled" else None
        loss = loss_of(x, w, keep)
        (gradient,) = torch.autograd.grad(loss, w)
        with torch.no_grad():
            w.sub_(rate * gradient)
        return loss.item()

    step()
    times, processor = [], []
    for _ in range(options.steps):
        start, start_cpu = time.perf_counter(), time.process_time()
        step()
        times.append(1e3 * (time.perf_counter() - start))
        processor.append(1e3 * (time.process_time() - start_cpu))
    times.sort()
    processor.sort()
    print(
        f"torch {torch.__version__} N{n} P{p} d{d} K{k} {options.masks} {options.teacher}"
        f"{' compiled' if options.compile else ''} T{options.threads}:"
        f" step min {times[0]:.1f} median {times[len(times) // 2]:.1f} ms, processor min {processor[0]:.1f} ms"
    )


if __name__ == "__main__":
    main()
