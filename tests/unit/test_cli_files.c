/* The files the program itself writes: what `get` fetched, the data directory, the identity; and word to systemd. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "datadir.h"
#include "errors.h"
#include "notify.h"
#include "output.h"
#include "scratch.h"

struct fixture {
    char dir[SCRATCH_SIZE];
    char path[128];
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    scratch_make(f->dir);
    snprintf(f->path, sizeof f->path, "%s/file", f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    scratch_remove(f->dir);
    free(f);
    return 0;
}

static int count_files(const char *path) {
    int count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return count;
}

static void write_file(const char *path, const char *text, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void assert_file(const char *path, const char *text) {
    char got[64] = "";
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, got, sizeof got - 1) >= 0);
    close(fd);
    assert_string_equal(got, text);
}

static void put_text(struct output *o, const char *text) {
    assert_int_equal(output_write(o, (const uint8_t *)text, strlen(text)), 0);
}

/* --- output ----------------------------------------------------------------------------------------------------- */

static void a_file_appears_only_when_it_is_whole(void **state) {
    struct fixture *f = *state;
    struct output o;
    assert_int_equal(output_open(&o, f->path, "x"), 0);
    put_text(&o, "new");
    assert_int_equal(access(f->path, F_OK), -1);
    assert_int_equal(output_commit(&o), 0);
    assert_file(f->path, "new");
    assert_int_equal(count_files(f->dir), 1);
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
}

static void an_abandoned_file_leaves_the_old_one_and_no_trace(void **state) {
    struct fixture *f = *state;
    struct output o;
    write_file(f->path, "old", 0640);
    assert_int_equal(output_open(&o, f->path, "x"), 0);
    put_text(&o, "half");
    output_abandon(&o);
    assert_file(f->path, "old");
    assert_int_equal(count_files(f->dir), 1);
}

static void a_replaced_file_keeps_its_mode(void **state) {
    struct fixture *f = *state;
    struct output o;
    struct stat st;
    write_file(f->path, "old", 0640);
    assert_int_equal(output_open(&o, f->path, "x"), 0);
    put_text(&o, "new");
    assert_int_equal(output_commit(&o), 0);
    assert_file(f->path, "new");
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void a_directory_takes_the_file_under_its_base_name(void **state) {
    struct fixture *f = *state;
    struct output o;
    assert_int_equal(output_open(&o, f->dir, "file"), 0);
    put_text(&o, "new");
    assert_int_equal(output_commit(&o), 0);
    assert_file(f->path, "new");
}

static void a_symbolic_link_stays_one(void **state) {
    struct fixture *f = *state;
    struct output o;
    char link[128];
    struct stat st;
    snprintf(link, sizeof link, "%s/link", f->dir);
    write_file(f->path, "old", 0600);
    assert_int_equal(symlink(f->path, link), 0);
    assert_int_equal(output_open(&o, link, "x"), 0);
    put_text(&o, "new");
    assert_int_equal(output_commit(&o), 0);
    assert_file(f->path, "new");
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void a_device_is_written_in_place(void **state) {
    (void)state;
    struct output o;
    struct stat st;
    assert_int_equal(output_open(&o, "/dev/null", "x"), 0);
    put_text(&o, "gone");
    assert_int_equal(output_commit(&o), 0);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void a_full_disk_is_told_by_name(void **state) {
    (void)state;
    struct output o;
    assert_int_equal(output_open(&o, "/dev/full", "x"), 0);
    assert_int_equal(output_write(&o, (const uint8_t *)"x", 1), ERR_NO_SPACE);
    assert_non_null(strstr(o.error, "/dev/full"));
    output_abandon(&o);
}

static void a_missing_directory_is_told_by_name(void **state) {
    struct fixture *f = *state;
    struct output o;
    char path[128];
    snprintf(path, sizeof path, "%s/none/file", f->dir);
    assert_int_equal(output_open(&o, path, "x"), ERR_IO);
    assert_non_null(strstr(o.error, path));
}

/* --- the data directory ----------------------------------------------------------------------------------------- */

static void a_data_directory_is_made_private(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    struct stat st;
    char path[128];
    snprintf(path, sizeof path, "%s/a/b/node", f->dir);
    assert_int_equal(datadir_open(&d, path), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    datadir_close(&d);
}

static void a_data_directory_serves_one_node_at_a_time(void **state) {
    struct fixture *f = *state;
    struct datadir first, second;
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_int_equal(datadir_open(&first, f->dir), 0);
    assert_int_equal(datadir_open(&second, f->dir), ERR_IN_USE);
    assert_non_null(strstr(second.error, f->dir));
    assert_non_null(strstr(second.error, pid));
    datadir_close(&second);
    datadir_close(&first);
    assert_int_equal(datadir_open(&second, f->dir), 0);
    datadir_close(&second);
}

static void a_directory_others_can_write_in_is_refused(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    assert_int_equal(chmod(f->dir, 0777), 0);
    assert_int_equal(datadir_open(&d, f->dir), ERR_REFUSED);
    datadir_close(&d);
    write_file(f->path, "", 0600);
    assert_int_equal(datadir_open(&d, f->path), ERR_IO);
    datadir_close(&d);
}

static void make_entry(const struct fixture *f, const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    if (text == NULL)
        assert_int_equal(mkdir(path, 0700), 0);
    else
        write_file(path, text, 0600);
}

static void a_directory_of_other_files_is_refused_and_left_alone(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    make_entry(f, "log", NULL);
    make_entry(f, "meta", NULL);
    make_entry(f, ".git", NULL);
    assert_int_equal(chmod(f->dir, 0775), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(datadir_open(&d, f->dir), ERR_REFUSED);
        assert_non_null(strstr(d.error, "holds other files"));
        datadir_close(&d);
        assert_int_equal(count_files(f->dir), 3);
    }
}

static void a_lock_that_is_no_lock_is_not_ours(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    make_entry(f, "lock", "the dependencies of somebody's program");
    assert_int_equal(datadir_open(&d, f->dir), ERR_REFUSED);
    datadir_close(&d);
}

static void a_first_start_that_was_interrupted_may_be_repeated(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    make_entry(f, "lock", "");
    make_entry(f, "log", NULL);
    make_entry(f, "notes", "");
    assert_int_equal(datadir_open(&d, f->dir), 0);
    datadir_close(&d);
}

static void an_identity_alone_makes_it_the_directory_of_a_node(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    make_entry(f, "identity", "");
    make_entry(f, "notes", "");
    assert_int_equal(datadir_open(&d, f->dir), 0);
    datadir_close(&d);
}

static void a_mounted_file_system_is_as_good_as_empty(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    make_entry(f, "lost+found", NULL);
    make_entry(f, ".Trash-0", NULL);
    make_entry(f, ".profile", "");
    assert_int_equal(datadir_open(&d, f->dir), 0);
    datadir_close(&d);
}

static void an_identity_is_kept(void **state) {
    struct fixture *f = *state;
    struct datadir d;
    struct identity made, loaded;
    struct stat st;
    uint8_t seed[IDENTITY_SEED_SIZE], zeros[IDENTITY_SEED_SIZE] = {0};
    char path[128];
    memset(seed, 42, sizeof seed);
    snprintf(path, sizeof path, "%s/identity", f->dir);
    assert_int_equal(datadir_open(&d, f->dir), 0);
    assert_int_equal(datadir_load_identity(&d, &loaded), ERR_NOT_FOUND);
    assert_int_equal(datadir_create_identity(&d, seed, &made), 0);
    assert_memory_equal(seed, zeros, sizeof seed);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(datadir_load_identity(&d, &loaded), 0);
    assert_memory_equal(loaded.public_key, made.public_key, sizeof made.public_key);
    assert_int_equal(count_files(f->dir), 2);
    identity_release(&made);
    identity_release(&loaded);

    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(datadir_load_identity(&d, &loaded), ERR_REFUSED);
    write_file(path, "rubbish", 0600);
    assert_int_equal(datadir_load_identity(&d, &loaded), ERR_INVALID);
    assert_non_null(strstr(d.error, path));
    datadir_close(&d);
}

/* --- systemd ---------------------------------------------------------------------------------------------------- */

static void assert_notified(const char *path, const char *name) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char got[64] = "";
    size_t size = strlen(name);
    memcpy(sa.sun_path, name, size);
    if (name[0] == '@')
        sa.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    socklen_t sa_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sa_size), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
    notify("READY=1");
    assert_int_equal(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), 7);
    assert_string_equal(got, "READY=1");
    close(fd);
    unsetenv("NOTIFY_SOCKET");
}

static void systemd_is_told_by_path_and_by_abstract_name(void **state) {
    struct fixture *f = *state;
    char abstract[64];
    assert_notified(f->path, f->path);
    snprintf(abstract, sizeof abstract, "@shoal-test-%ld", (long)getpid());
    assert_notified(abstract, abstract);
}

static void nobody_to_notify_is_no_trouble(void **state) {
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify("READY=1");
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    notify("READY=1");
    setenv("NOTIFY_SOCKET", "rubbish", 1);
    notify("READY=1");
    unsetenv("NOTIFY_SOCKET");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_file_appears_only_when_it_is_whole),
        TEST(an_abandoned_file_leaves_the_old_one_and_no_trace),
        TEST(a_replaced_file_keeps_its_mode),
        TEST(a_directory_takes_the_file_under_its_base_name),
        TEST(a_symbolic_link_stays_one),
        cmocka_unit_test(a_device_is_written_in_place),
        cmocka_unit_test(a_full_disk_is_told_by_name),
        TEST(a_missing_directory_is_told_by_name),
        TEST(a_data_directory_is_made_private),
        TEST(a_data_directory_serves_one_node_at_a_time),
        TEST(a_directory_others_can_write_in_is_refused),
        TEST(a_directory_of_other_files_is_refused_and_left_alone),
        TEST(a_lock_that_is_no_lock_is_not_ours),
        TEST(a_first_start_that_was_interrupted_may_be_repeated),
        TEST(an_identity_alone_makes_it_the_directory_of_a_node),
        TEST(a_mounted_file_system_is_as_good_as_empty),
        TEST(an_identity_is_kept),
        TEST(systemd_is_told_by_path_and_by_abstract_name),
        cmocka_unit_test(nobody_to_notify_is_no_trouble),
    };
    return crypto_init() != 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
