/* The closed form of ProCo's contrastive score against samples of the von Mises-Fisher distribution (Wood 1994).
 *
 *     clang -O2 -ISources/CMRPKernels/include -o build/monte_carlo benchmarks/long_tail/monte_carlo.c -lm && build/monte_carlo
 *
 * p = 32, temperature 0.2. Prints a table and exits with 1 unless each difference is at most 4 standard errors and 2e-3, and the mean field
 * A mu.z / tau, the negative control, is off by more than 0.1 at kappa = 20. */
#include <stdio.h>
#include <stdlib.h>

#include "../../Sources/CMRPKernels/von_mises_fisher.h"

enum { P = 32, SAMPLES = 400000, CLASSES = 10, LOSS_SAMPLES = 100000, REPEATS = 4 };
static const double temperature = 0.2, nu = P / 2.0 - 1;
static uint64_t state = 1;

static double uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void) { return sqrt(-2 * log(uniform())) * cos(6.283185307179586477 * uniform()); }

static double dot(const double *a, const double *b) {
    double sum = 0;
    for (int i = 0; i < P; i++) sum += a[i] * b[i];
    return sum;
}

static void to_unit(double *x) {
    const double length = sqrt(dot(x, x));
    for (int i = 0; i < P; i++) x[i] /= length;
}

/* Gamma(shape, 1), shape > 1 (Marsaglia & Tsang 2000). */
static double gamma_variate(double shape) {
    const double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        const double z = normal(), v = pow(1 + c * z, 3);
        if (v > 0 && log(uniform()) < 0.5 * z * z + d - d * v + d * log(v)) return d * v;
    }
}

/* One draw around mu. */
static void draw(const double *mu, double kappa, double *x) {
    const double b = (-2 * kappa + sqrt(4 * kappa * kappa + (P - 1.0) * (P - 1.0))) / (P - 1), x0 = (1 - b) / (1 + b);
    const double c = kappa * x0 + (P - 1) * log(1 - x0 * x0);
    double w;
    for (;;) {
        const double g = gamma_variate((P - 1) / 2.0), h = gamma_variate((P - 1) / 2.0), z = g / (g + h);
        w = (1 - (1 + b) * z) / (1 - (1 - b) * z);
        if (kappa * w + (P - 1) * log(1 - x0 * w) - c >= log(uniform())) break;
    }
    for (int i = 0; i < P; i++) x[i] = normal();
    const double along = dot(x, mu);
    for (int i = 0; i < P; i++) x[i] -= along * mu[i];
    to_unit(x);
    for (int i = 0; i < P; i++) x[i] = w * mu[i] + sqrt(1 - w * w) * x[i];
}

static double closed(const double *mu, double kappa, const double *z) {
    const double inverse = 1 / temperature;
    const double joint = sqrt(kappa * kappa + 2 * kappa * dot(mu, z) * inverse + inverse * inverse);
    return mk_log_vmf(nu, joint, NULL) - mk_log_vmf(nu, kappa, NULL);
}

/* The mean of exp(x.z / temperature) over draws, and its standard error relative to it. */
static double sampled(const double *mu, double kappa, const double *z, int count, double *error) {
    double sum = 0, squares = 0, x[P];
    for (int i = 0; i < count; i++) {
        draw(mu, kappa, x);
        const double value = exp(dot(x, z) / temperature);
        sum += value;
        squares += value * value;
    }
    const double mean = sum / count;
    *error = sqrt((squares / count - mean * mean) / count) / mean;
    return mean;
}

static void near(const double *mu, double spread, double *z) {
    for (int i = 0; i < P; i++) z[i] = mu[i] + spread * normal() / sqrt(P);
    to_unit(z);
}

static int scores(void) {
    static const double kappas[3] = {20, 60, 200};
    int failed = 0;
    printf("kappa  closed form  sampled  standard error  mean field\n");
    for (int k = 0; k < 3; k++) {
        double mu[P], z[P], error, ratio;
        for (int i = 0; i < P; i++) mu[i] = normal();
        to_unit(mu);
        near(mu, 0.5, z);
        const double exact = closed(mu, kappas[k], z), found = log(sampled(mu, kappas[k], z, SAMPLES, &error));
        mk_log_bessel(nu, kappas[k], &ratio);
        const double field = ratio * dot(mu, z) / temperature;
        printf("%5g  %.5f  %.5f  %.5f  %.4f\n", kappas[k], exact, found, error, field);
        failed |= !(fabs(exact - found) <= 4 * error && fabs(exact - found) <= 2e-3);
        failed |= k == 0 && !(fabs(exact - field) > 0.1);
    }
    return failed;
}

/* The whole loss of one feature against classes of a long tail. */
static int loss(void) {
    double mu[CLASSES][P], kappa[CLASSES], prior[CLASSES], z[P], total = 0, exact = 0, label = 0, mean = 0, squares = 0;
    for (int j = 0; j < CLASSES; j++) {
        for (int i = 0; i < P; i++) mu[j][i] = normal();
        to_unit(mu[j]);
        kappa[j] = 20 + 80 * uniform();
        total += prior[j] = pow(0.01, j / (CLASSES - 1.0));
    }
    near(mu[7], 0.8, z);
    for (int j = 0; j < CLASSES; j++) {
        prior[j] /= total;
        const double value = prior[j] * exp(closed(mu[j], kappa[j], z));
        exact += value;
        if (j == 7) label = value;
    }
    exact = log(exact) - log(label);
    for (int r = 0; r < REPEATS; r++) {
        double sum = 0, error;
        for (int j = 0; j < CLASSES; j++) {
            const double value = prior[j] * sampled(mu[j], kappa[j], z, LOSS_SAMPLES, &error);
            sum += value;
            if (j == 7) label = value;
        }
        const double found = log(sum) - log(label);
        mean += found / REPEATS;
        squares += found * found / REPEATS;
    }
    const double deviation = sqrt(fmax(squares - mean * mean, 0) * REPEATS / (REPEATS - 1));
    printf("loss: closed form %.4f, %d samples of each class %.4f (deviation %.4f)\n", exact, LOSS_SAMPLES, mean, deviation);
    return !(fabs(exact - mean) <= 2e-3);
}

int main(void) {
    const int failed = scores() | loss();
    printf("%s\n", failed ? "FAILS" : "holds");
    return failed;
}
