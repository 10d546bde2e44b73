/* Shared by the programs of the laboratory: one that is done in milliseconds. */
#ifndef LAB_H
#define LAB_H

#include "small.h"

enum { K = 2, D = 8, P = 6, KERNELS = 8, SAMPLES = 50 };

/* Milliseconds a seed. */
static mrp_lab *small_lab(void) {
    static const char *const values[][2] = {{"k", "2"},
                                            {"d", "8"},
                                            {"P", "6"},
                                            {"s", "0"},
                                            {"m", "4"},
                                            {"N_pre", "20"},
                                            {"T", "5"},
                                            {"train_samples", "20"},
                                            {"finetune_steps", "4"},
                                            {"supervised_steps", "4"},
                                            {"converged_steps", "2"},
                                            {"N_test", "10"},
                                            {"seeds", "2"},
                                            {"threads", "2"},
                                            {"first_seed", "3"},
                                            {"probe_every", "1"}};
    mrp_lab *lab = NULL;
    WORKS(mrp_lab_create(NULL, &lab));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) WORKS(mrp_lab_set(lab, values[i][0], values[i][1]));
    return lab;
}

static mrp_lab *lab;
static mrp_lab_report *report;

#endif
