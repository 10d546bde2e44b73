/* Chamfer distance as plain loops; see mk_chamfer. */

static mk_scratch chamfer_scratch(const mk_chamfer *p) {
    (void)p;
    return (mk_scratch){0, 0};
}

static double chamfer_square(const REAL *a, const REAL *b, int64_t width) {
    double sum = 0;
    for (int64_t c = 0; c < width; c++) sum += ((double)a[c] - b[c]) * ((double)a[c] - b[c]);
    return sum;
}

/* The mean squared distance from the points of `from` to the nearest of `to`. */
static double chamfer_side(const REAL *from, int64_t rows, const REAL *to, int64_t others, int64_t width, int32_t *nearest) {
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) {
        nearest[i] = 0;
        for (int64_t j = 1; j < others; j++) {
            if (chamfer_square(from + i * width, to + j * width, width) < chamfer_square(from + i * width, to + nearest[i] * width, width))
                nearest[i] = (int32_t)j;
        }
        sum += chamfer_square(from + i * width, to + nearest[i] * width, width);
    }
    return sum / rows;
}

static void chamfer(mk_pool *pool, const mk_chamfer *p, void *loss) {
    (void)pool;
    double sum = 0;
    for (int64_t set = 0; set < p->sets; set++) {
        const REAL *a = (const REAL *)p->a + set * p->rows_a * p->width, *b = (const REAL *)p->b + set * p->rows_b * p->width;
        sum += chamfer_side(a, p->rows_a, b, p->rows_b, p->width, p->nearest_a + set * p->rows_a);
        sum += chamfer_side(b, p->rows_b, a, p->rows_a, p->width, p->nearest_b + set * p->rows_b);
    }
    *(REAL *)loss = (REAL)(sum / p->sets);
}

static void chamfer_gradient(mk_pool *pool, const mk_chamfer *p, const void *loss_gradient, void *a_gradient, void *b_gradient) {
    (void)pool;
    const double factor = 2 * (double)*(const REAL *)loss_gradient / p->sets;
    REAL *da = a_gradient, *db = b_gradient;
    for (int64_t i = 0; da && i < p->sets * p->rows_a * p->width; i++) da[i] = 0;
    for (int64_t i = 0; db && i < p->sets * p->rows_b * p->width; i++) db[i] = 0;
    for (int64_t at = 0; at < p->sets * (p->rows_a + p->rows_b); at++) {
        const int64_t set = at / (p->rows_a + p->rows_b), place = at % (p->rows_a + p->rows_b), is_a = place < p->rows_a;
        const int64_t i = set * p->rows_a + (is_a ? place : p->nearest_b[set * p->rows_b + place - p->rows_a]);
        const int64_t j = set * p->rows_b + (is_a ? p->nearest_a[set * p->rows_a + place] : place - p->rows_a);
        for (int64_t c = 0; c < p->width; c++) {
            const double difference = (double)((const REAL *)p->a)[i * p->width + c] - ((const REAL *)p->b)[j * p->width + c];
            const double pull = factor / (is_a ? p->rows_a : p->rows_b) * difference;
            if (da) da[i * p->width + c] += (REAL)pull;
            if (db) db[j * p->width + c] -= (REAL)pull;
        }
    }
}
