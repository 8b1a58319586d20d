/* The parts of a name, set one by one as decoders meet them. Private to this folder. */
#ifndef SHOAL_MACHINE_NAME_H
#define SHOAL_MACHINE_NAME_H

#include "name.h"

/* ERR_INVALID or ERR_TOO_LARGE, as name_parse says. */
int name_set_bucket(struct name *n, const char *bucket, size_t size);
int name_set_key(struct name *n, const char *key, size_t size);

#endif
