/* shoal-simnet --shrink: plays smaller runs in processes of their own until none fails that is smaller still, and shows
 * the last one. */
#ifndef SHOAL_MINIMIZE_H
#define SHOAL_MINIMIZE_H

#include "run.h"

/* Prints progress on standard error; on standard output the schedule of the smallest run that fails like the first, and
 * the command line that plays it. True when that command line, given to a new process of this program, failed with the
 * same words. */
bool minimize(const struct run_options *options, uint32_t jobs, uint32_t limit_seconds);

#endif
