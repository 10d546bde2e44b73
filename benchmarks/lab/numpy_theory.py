"""One seed of the default regime in plain numpy float64: the yardstick for speed, and a second implementation of the experiment.

Its random numbers are numpy's, so its figures agree with the laboratory's in kind, not digit by digit.

    OPENBLAS_NUM_THREADS=1 taskset -c 0 python benchmarks/lab/numpy_theory.py
"""

import argparse
import time

import numpy as np

K, D, P, CP, S, MU, RHO, GAMMA, NOISE_V, SIGMA = 10, 64, 24, 2, 2.0, 0.05, 0.05, 0.3, 0.01, 0.04
M, Q, R, SIGMA0, TAU, THETA = 20, 5, 0.5, 0.05, 1.15, 0.5


def activation(z):
    t = np.clip(z / R, 0, 1)
    slope = t ** (Q - 1)
    return slope * t * (R / Q) + np.maximum(z - R, 0), slope


def samples(rng, features, count, single):
    x = SIGMA * rng.standard_normal((count, P, D)) + rng.uniform(0, NOISE_V, (count, P, 2 * K)) @ features
    labels = rng.integers(K, size=count)
    shown = np.where(rng.uniform(size=count) < single, rng.integers(2, size=count), -1)
    for n in range(count):
        y = labels[n]
        others = [j for j in rng.permutation(2 * K) if j // 2 != y and rng.uniform() < S / K]
        order = rng.permutation(P)
        for i, j in enumerate([2 * y, 2 * y + 1, *others][: P // CP]):
            if j // 2 == y and (shown[n] < 0 or shown[n] == j % 2):
                z = rng.uniform(0.9, 1.2, CP)
            elif j // 2 == y:
                z = np.full(CP, rng.uniform(RHO, 2 * RHO) / CP)
            else:
                z = np.full(CP, (rng.uniform(0.2, 0.4) if shown[n] < 0 else rng.uniform(GAMMA / 2, GAMMA)) / CP)
            x[n, order[i * CP : (i + 1) * CP]] += z[:, None] * features[j]
    return x, labels, shown


def pretrain(w, x, steps=150, rate=2.0, relative=0.05):
    flat, kappa = x.reshape(-1, D), 1 / THETA - 1
    for _ in range(steps):
        a = flat @ w.T
        f, slope = activation(a)
        h = f.reshape(len(x), P, -1).sum(1)
        t = activation(TAU * a)[0].reshape(len(x), P, -1).sum(1)
        g = (slope * (kappa * f - np.repeat(t - h, P, 0))).T @ flat / len(x)
        limit = relative * np.linalg.norm(w, axis=1) / np.linalg.norm(g, axis=1)
        w = w - np.minimum(rate / slope.max(0) ** 2, limit)[:, None] * g
    return w


def classify(w, u, x, labels, steps, rate_u, rate_w):
    flat, onehot = x.reshape(-1, D), np.eye(K)[labels]
    for _ in range(steps):
        f, slope = activation(flat @ w.T)
        h = f.reshape(len(x), P, -1).sum(1)
        logits = h @ u.T
        e = np.exp(logits - logits.max(1, keepdims=True))
        probabilities = e / e.sum(1, keepdims=True)
        loss = -np.log(probabilities[np.arange(len(x)), labels]).mean()
        error = (probabilities - onehot) / len(x)
        g = (slope * np.repeat(error @ u, P, 0)).T @ flat
        u = u - rate_u * (error.T @ h)
        w = w - rate_w * g
    return w, u, loss


def accuracy(w, u, x, labels):
    h = activation(x.reshape(-1, D) @ w.T)[0].reshape(len(x), P, -1).sum(1)
    return ((h @ u.T).argmax(1) == labels).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    rng = np.random.default_rng(parser.parse_args().seed)
    start, processor = time.perf_counter(), time.process_time()
    features = np.linalg.qr(rng.standard_normal((D, 2 * K)))[0].T
    unlabelled = samples(rng, features, 300, MU)[0]
    x, labels, _ = samples(rng, features, 500, MU)
    multi, single = samples(rng, features, 1000, 0.0), samples(rng, features, 1000, 1.0)

    w = pretrain(SIGMA0 * rng.standard_normal((K * M, D)), unlabelled)
    captured = ((w @ features.T).max(0) >= R).sum()
    tuned, head, loss = classify(w, np.zeros((K, K * M)), x, labels, 80, 2.0, 0.05)
    print(
        f"MRP: captured {captured}, loss {loss:.4f}, multi {accuracy(tuned, head, *multi[:2])}, single {accuracy(tuned, head, *single[:2])}"
    )

    blocks = np.kron(np.eye(K), np.ones((1, M)))
    w, _, loss = classify(SIGMA0 * rng.standard_normal((K * M, D)), blocks, x, labels, 200, 0.0, 2.0)
    correlations = w.reshape(K, M, D) @ features.reshape(K, 2, D).transpose(0, 2, 1)
    captured = (correlations.max(1) >= R).sum()
    scores = [accuracy(w, blocks, *kind[:2]) for kind in (multi, single)]
    print(f"SL: captured {captured}, loss {loss:.4f}, multi-view {scores[0]}, single-view {scores[1]}")
    print(f"{time.perf_counter() - start:.1f} s, processor {time.process_time() - processor:.1f} s")


if __name__ == "__main__":
    main()
