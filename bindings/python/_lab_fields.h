/* What a laboratory's progress shows in Python. Included by _mrp.c, once. */
static PyStructSequence_Field lab_progress_fields[] = {
    {"phase", "what runs, such as 'pretraining' or 'supervised learning'; 'study' in a study"},
    {"fraction", "share of the whole run that is done, 0 ... 1"},
    {"step", "steps of the phase done; in a study, rows"},
    {"steps", "steps of the phase; in a study, rows"},
    {"seed", "the seed that runs, from 0"},
    {"seeds", "number of seeds"},
    {"loss", "loss of the last step"},
    {"captured", "features captured at the last probe"},
    {"seconds", "seconds since the run began"},
    {"seconds_left", "seconds until it ends, estimated"},
    {NULL, NULL},
};
