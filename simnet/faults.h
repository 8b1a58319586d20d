/* What a fault does when its time comes, and what is undone at its end. plan.c says which, when, on whom, and for how
 * long. */
#ifndef SHOAL_FAULTS_H
#define SHOAL_FAULTS_H

#include "plan.h"

const char *fault_name(enum plan_kind kind);
uint32_t fault_weight(enum plan_kind kind);
/* f->kind, host and until_us are set; writes f->text, and corrects until_us when it ends at another time than its place
 * is freed. Draws from f->prng only. */
void fault_begin(struct plan_fault *f);
/* f is not active any more: undoes what it did, but for what other active faults still do. */
void fault_end(struct plan_fault *f);
/* A user just heard that something is stored. */
void fault_acknowledged(struct plan_fault *f, uint64_t size);

/* ---- of plan.c, for faults.c ------------------------------------------------------------------------------------- */

/* More for f->text. */
void plan_say(struct plan_fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The fault does something later than at its beginning: a line of its own, out of f->text, which starts empty again. */
void plan_publish(struct plan_fault *f);
/* It does more of it after the time at which its place would have been freed. */
void plan_extend(struct plan_fault *f, uint64_t until_us);
/* How long something lasts that the fault does besides. */
uint64_t plan_lasting(struct plan_fault *f);
/* The host goes down if it is up, and comes back by itself after that time. */
void plan_crash(struct plan_fault *f, uint32_t number, enum sim_crash how, uint64_t for_us);
/* A host that leads what users work on, or else the other one. */
uint32_t plan_leader(struct plan *p, uint64_t random, uint32_t otherwise);
struct sim_host *plan_host(struct plan *p, uint32_t number);
size_t plan_link(const struct plan *p, uint32_t from, uint32_t to); /* index of a directed link */

#endif
