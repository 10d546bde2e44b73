/* Histograms of oriented gradients. A bin is found without an angle: it is the number of borders between bins that the gradient, turned
 * into the upper half plane, lies beyond. */
#include "loops.h"

typedef struct {
    const mk_hog *problem;
    float cosine[MK_HOG_BINS], sine[MK_HOG_BINS];
} hog_job;

static void hog_cell(const hog_job *job, const float *x, int64_t top, int64_t left, float *out) {
    const mk_hog *p = job->problem;
    float histogram[MK_HOG_BINS] = {0}, squares = 0;
    for (int64_t row = top; row < top + p->cell_height; row++) {
        const int has_rows = row > 0 && row < p->height - 1;
        for (int64_t column = left; column < left + p->cell_width; column++) {
            const float *at = x + row * p->width + column;
            float vertical = has_rows ? at[p->width] - at[-p->width] : 0;
            float horizontal = column > 0 && column < p->width - 1 ? at[1] - at[-1] : 0;
            if (vertical < 0) vertical = -vertical, horizontal = -horizontal;
            if (vertical == 0 && horizontal < 0) horizontal = -horizontal;
            int64_t bin = 0;
            for (int64_t border = 1; border < p->bins; border++) {
                bin += job->cosine[border] * vertical - job->sine[border] * horizontal >= 0;
            }
            histogram[vertical == 0 ? 0 : bin] += sqrtf(vertical * vertical + horizontal * horizontal);
        }
    }
    const float share = 1.0f / (float)(p->cell_height * p->cell_width);
    for (int64_t bin = 0; bin < p->bins; bin++) {
        histogram[bin] *= share;
        squares += histogram[bin] * histogram[bin];
    }
    const float factor = 1.0f / sqrtf(squares + (float)(p->epsilon * p->epsilon));
    for (int64_t bin = 0; bin < p->bins; bin++) out[bin] = histogram[bin] * factor;
}

/* A task is a row of patches of one image. */
static void hog_task(void *context, int64_t index, int32_t worker) {
    const hog_job *job = context;
    const mk_hog *p = job->problem;
    const int64_t image = index / p->grid_height, grid_row = index % p->grid_height;
    float *out = (float *)p->out + index * p->grid_width * p->cell_rows * p->cell_columns * p->channels * p->bins;
    (void)worker;
    for (int64_t grid_column = 0; grid_column < p->grid_width; grid_column++) {
        for (int64_t cell = 0; cell < p->cell_rows * p->cell_columns; cell++) {
            const int64_t top = (grid_row * p->cell_rows + cell / p->cell_columns) * p->cell_height;
            const int64_t left = (grid_column * p->cell_columns + cell % p->cell_columns) * p->cell_width;
            for (int64_t channel = 0; channel < p->channels; channel++, out += p->bins) {
                const float *x = (const float *)p->images + (image * p->channels + channel) * p->height * p->width;
                hog_cell(job, x, top, left, out);
            }
        }
    }
}

static void hog(mk_pool *pool, const mk_hog *p) {
    hog_job job = {.problem = p};
    for (int64_t border = 0; border < p->bins; border++) {
        const double angle = 3.14159265358979323846 * (double)border / (double)p->bins;
        job.cosine[border] = (float)cos(angle);
        job.sine[border] = (float)sin(angle);
    }
    mk_pool_run(pool, p->batch * p->grid_height, hog_task, &job);
}
