/* Assertions that stay on in every build. Only for what the program itself guarantees: never for input from a
 * peer, a user or the disk. */
#ifndef SHOAL_CHECK_H
#define SHOAL_CHECK_H

_Noreturn void check_failed(const char *expression, const char *file, int line);
#define CHECK(expression) ((expression) ? (void)0 : check_failed(#expression, __FILE__, __LINE__))

#endif
