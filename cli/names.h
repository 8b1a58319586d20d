/* Names of stored files on the command line: checked before the node is asked, so that a mistake is a usage error. */
#ifndef SHOAL_NAMES_H
#define SHOAL_NAMES_H

#include "cli.h"
#include "client.h"

/* The text as it goes on the wire (it points into text); CLI_END, or complains, sets args->exit, gives CLI_STOP. */
int names_check(struct cli_args *args, const char *text, struct client_text *ret_name);
/* --if-version V */
int names_check_version(struct cli_args *args, const char *text, uint8_t ret_version[16]);

#endif
