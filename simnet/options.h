/* The options of a run, as they are written on a command line. */
#ifndef SHOAL_SIM_OPTIONS_H
#define SHOAL_SIM_OPTIONS_H

#include "run.h"

/* Rows for getopt_long. */
#define OPTIONS_OF_A_RUN                                                                              \
    {"seed", required_argument, NULL, 's'}, {"nodes", required_argument, NULL, 'n'},                  \
        {"minutes", required_argument, NULL, 'm'}, {"seconds", required_argument, NULL, 'e'},         \
        {"arcs", required_argument, NULL, 'a'}, {"replicas", required_argument, NULL, 'c'},           \
        {"skip-faults", required_argument, NULL, 'F'}, {"only-faults", required_argument, NULL, 'f'}, \
        {"skip-asks", required_argument, NULL, 'A'}, {                                                \
        "only-asks", required_argument, NULL, 'k'                                                     \
    }

#define OPTIONS_HELP                                                                          \
    "  --nodes N       hosts (5)\n"                                                           \
    "  --minutes N     simulated time under faults (10)\n"                                    \
    "  --seconds N     the same, in seconds\n"                                                \
    "  --arcs N        a power of two (16)\n"                                                 \
    "  --replicas N    of every arc (3)\n"                                                    \
    "  --skip-faults LIST, --only-faults LIST\n"                                              \
    "                  of the drawn faults, only some happen: numbers as in 1-5,9, or none\n" \
    "  --skip-asks LIST, --only-asks LIST\n"                                                  \
    "                  of what users ask, only some: 2 is all of user 2, 2:1-5,9/3 some of user 2 and all of 3\n"

void options_init(struct run_options *out);
/* A deep copy; to be released. */
void options_copy(const struct run_options *from, struct run_options *out);
void options_release(struct run_options *options);
/* One of the options above, with its argument. False, after a message on standard error, when it makes no sense. */
bool options_take(int option, const char *text, struct run_options *out);
/* Everything that differs from the defaults, and the seed. Returns the size without the final zero; when that is not
 * below out_size, out is of no use. */
size_t options_format(const struct run_options *options, char *out, size_t out_size);
/* A number within limits; or a message on standard error. */
bool options_number(const char *text, uint64_t low, uint64_t high, uint64_t *out);

#endif
