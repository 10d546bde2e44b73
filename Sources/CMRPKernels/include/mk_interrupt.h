/* The wish of a caller that the call on this thread stops: a flag that another thread sets, and a function of the caller's that is asked
 * now and then. */
#ifndef MK_INTERRUPT_H
#define MK_INTERRUPT_H

#include <stdint.h>

typedef int32_t (*mk_interrupt_fn)(void *user);

/* What may stop a call; one call may lie inside of another. */
typedef struct mk_interruption {
    const int32_t *flag; /* NULL: none */
    int32_t allowed;
} mk_interruption;

/* The function that calls of this thread ask; NULL: none. */
void mk_set_interrupt(mk_interrupt_fn function, void *user);

/* Lets `mk_interrupted` look at the flag and ask the function, until `mk_interrupt_end` gets back what this returns. */
mk_interruption mk_interrupt_begin(const int32_t *flag);
void mk_interrupt_end(mk_interruption before);

/* Nonzero when the call shall stop; that answer stays until the call has ended. */
int32_t mk_interrupted(void);

/* The function's answer, allowed or not; it is asked every 20 ms at most. */
int32_t mk_interrupt_ask(void);

#endif
