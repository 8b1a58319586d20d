/* What the files of faults share: how each kind begins, and what ends with it. */
#ifndef SHOAL_FAULTS_INTERNAL_H
#define SHOAL_FAULTS_INTERNAL_H

#include "faults.h"

#define FAULT_BEGIN(id, function, name, weight) void begin_##function(struct plan_fault *f);
PLAN_FAULTS(FAULT_BEGIN)
#undef FAULT_BEGIN

struct sim *fault_sim(const struct plan_fault *f);
uint32_t fault_any_host(struct plan_fault *f);
/* `step` is called after that much time, unless the fault ends before. */
void fault_step_after(struct plan_fault *f, void (*step)(struct plan_fault *f), uint64_t after_us);

/* ---- when it ends, but for what others still do ------------------------------------------------------------------ */

void fault_unblock(struct plan_fault *f);
void fault_set_links(struct plan *p);
void fault_set_pace(struct plan *p);
void fault_end_full(struct plan_fault *f);
void fault_set_misreads(struct plan *p, uint32_t host);

#endif
