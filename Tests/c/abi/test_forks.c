/* Forks from a process whose threads use the library: children with threads of their own go on using it. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "small.h"

enum { CHILDREN = 8, THREADS = 4, LOOKS = 40, SECONDS = 60 };

static volatile int is_over;

/* What takes the locks of the whole process: registries, tables of options, handles, the log. */
static void look_things_up(void) {
    mrp_config *config = NULL;
    EXPECT(mrp_config_create("mae_vit_tiny_32", &config) == MRP_OK);
    EXPECT(mrp_config_set(config, "objective", "nothing") == MRP_ERR_ARGUMENT);
    mrp_config_destroy(config);
    mrp_lab *lab = NULL;
    EXPECT(mrp_lab_create("quick", &lab) == MRP_OK);
    mrp_lab_destroy(lab);
}

static void *look_until_it_is_over(void *unused) {
    while (!is_over) look_things_up();
    return unused;
}

static void *look_for_a_while(void *unused) {
    for (int i = 0; i < LOOKS; i++) look_things_up();
    return unused;
}

/* The thread that forks ends at once: nobody in the child may wait for it. */
static void *fork_a_child(void *place) {
    const pid_t child = fork();
    if (child == 0) {
        pthread_t threads[THREADS];
        alarm(SECONDS);
        for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, look_for_a_while, NULL);
        look_for_a_while(NULL);
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        _exit(check_failures != 0);
    }
    *(pid_t *)place = child;
    return NULL;
}

int main(void) {
    pthread_t other, forking;
    pid_t children[CHILDREN];
    /* The first forks come while the other thread makes the library's tables. */
    pthread_create(&other, NULL, look_until_it_is_over, NULL);
    for (int i = 0; i < CHILDREN; i++) {
        pthread_create(&forking, NULL, fork_a_child, &children[i]);
        pthread_join(forking, NULL);
    }
    is_over = 1;
    pthread_join(other, NULL);
    for (int i = 0; i < CHILDREN; i++) {
        int how = 0;
        EXPECT(children[i] > 0 && waitpid(children[i], &how, 0) == children[i]);
        CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0, "child %d ended with %x", i, (unsigned)how);
    }
    return check_result(__FILE__);
}
