/* Readers of point files: all variants of good ones, and the defective ones of tools/fixtures/make_defective_points.py with their errors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "defective_points.h"
#include "mk_memory.h"
#include "mp_files.h"

static mi_error error;

/* Reads a copy of the bytes that ends where they end, so that a sanitizer sees reads beyond. */
static int32_t reading(const char *name, const void *content, size_t bytes, int64_t channels, int64_t samples, mp_points *points) {
    uint8_t *copy = malloc(bytes + 1);
    memcpy(copy + 1, content, bytes); /* not aligned either */
    const mp_reading how = {channels, samples, 7, 3};
    error = (mi_error){0};
    const int32_t status = mp_read(copy + 1, (int64_t)bytes, mp_kind_of(name), &how, points, &error);
    free(copy);
    return status;
}

static void gives(const char *name, const void *content, size_t bytes, int64_t channels, int64_t count, const float *values) {
    mp_points points;
    const int32_t status = reading(name, content, bytes, channels, 1, &points);
    CHECK(status == MI_OK, "%s: %s", name, error.text);
    if (status != MI_OK) return;
    const int64_t width = points.channels, all = points.clouds * points.count;
    CHECK(all == count, "%s: %lld points", name, (long long)all);
    for (int64_t i = 0; all == count && i < count * width; i++)
        CHECK(points.values[i] == values[i], "%s: value %lld is %.9g, not %.9g", name, (long long)i, points.values[i], values[i]);
    mk_release(points.values);
}

#define GIVES(name, content, channels, count, ...) gives(name, content, sizeof content - 1, channels, count, (const float[]){__VA_ARGS__})

static void test_text(void) {
    GIVES("a.xyz", "0 1 2\n3 4 5\n", 0, 2, 0, 1, 2, 3, 4, 5);
    GIVES("a.TXT", "\xef\xbb\xbf# points\r\n 1.5,\t-2.25e1 , +.5\r\n\r\n// more\n3;4;5.  # the last", 0, 2, 1.5f, -22.5f, 0.5f, 3, 4, 5);
    GIVES("a.csv", "x,y,z,nx\n0,1,2,9\n3,4,5,8\n", 0, 2, 0, 1, 2, 9, 3, 4, 5, 8);
    GIVES("a.csv", "\"x\",\"y\",\"z\",\"nx\"\n0,1,2,9\n3,4,5,8\n", 3, 2, 0, 1, 2, 3, 4, 5);
    GIVES("a.pts", "2\n0 1 2\n3 4 5\n", 0, 2, 0, 1, 2, 3, 4, 5);
    GIVES("a.xyz", "16777217.0 0.1 3.4028234e38\n1e-400 123456789012345678901234567890 -0\n", 0, 2, 16777217.0f, 0.1f, 3.4028234e38f, 0,
          123456789012345678901234567890.0f, 0);
}

static void test_npy(void) {
    static const char plain[] = "\x93NUMPY\x01\x00\x3c\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    static const float values[] = {0, 1, 2, 3, 4, 5};
    static const double wide[] = {0, 1, 2, 3, 4, 5};
    char file[256];
    const size_t header = sizeof plain - 1;
    file[0] = 0;
    memcpy(file, plain, header);
    file[8] = (char)(header - 10);
    memcpy(file + header, values, sizeof values);
    gives("a.npy", file, header + 24, 0, 2, values);
    strncpy(strstr(file + 10, "<f4"), "<f8", 3);
    memcpy(file + header, wide, sizeof wide);
    gives("a.npy", file, header + 48, 0, 2, values);
    strncpy(strstr(file + 10, ">f8") ? strstr(file + 10, ">f8") : strstr(file + 10, "<f8"), ">f4", 3);
    for (int i = 0; i < 24; i++) file[header + (size_t)i] = ((const char *)values)[i / 4 * 4 + 3 - i % 4];
    gives("a.npy", file, header + 24, 0, 2, values);
    /* in Fortran's order: all x, all y, all z */
    strncpy(strstr(file + 10, ">f4"), "<f4", 3);
    memcpy(strstr(file + 10, "False"), "True ", 5);
    memcpy(file + header, (const float[]){0, 3, 1, 4, 2, 5}, 24);
    gives("a.npy", file, header + 24, 0, 2, values);
    memcpy(strstr(file + 10, "True "), "False", 5);
    memcpy(strstr(file + 10, "(2, 3)"), "(1,2,3", 6);
    memcpy(strstr(file + 10, ", }"), "),}", 3);
    memcpy(file + header, values, sizeof values);
    gives("a.npy", file, header + 24, 3, 2, values);
}

static void test_ply(void) {
    GIVES("a.ply",
          "ply\r\nformat ascii 1.0\r\ncomment by hand\r\nobj_info x\r\nelement vertex 2\r\nproperty uchar red\r\nproperty float "
          "z\r\nproperty "
          "double y\r\nproperty float32 x\r\nend_header\r\n9 2 1 0\r\n8\n5 4 3",
          0, 2, 0, 1, 2, 9, 3, 4, 5, 8);
    GIVES("a.ply",
          "ply\nformat binary_little_endian 1.0\nelement camera 2\nproperty list uchar short a\nproperty char b\nelement vertex 1\n"
          "property float x\nproperty short y\nproperty uint8 z\nend_header\n"
          "\x02\x01\x00\x02\x00\xff\x00\x05\x00\x00\x80\x3f\xfe\xff\xff",
          0, 1, 1, -2, 255);
    GIVES("a.ply",
          "ply\nformat binary_big_endian 1.0\nelement vertex 1\nproperty double x\nproperty int y\nproperty ushort z\nelement face 0\n"
          "property list uchar int vertex_indices\nend_header\n\x3f\xf8\x00\x00\x00\x00\x00\x00\xff\xff\xff\xfe\x01\x00",
          3, 1, 1.5f, -2, 256);
}

/* Two squares in different planes of areas 1 and 3, and a triangle without area: points lie on them in that proportion. */
static void check_sampling(const char *name, const char *content) {
    enum { SAMPLES = 4000 };
    mp_points points, again;
    CHECK(reading(name, content, strlen(content), 0, SAMPLES, &points) == MI_OK, "%s", error.text);
    CHECK(reading(name, content, strlen(content), 0, SAMPLES, &again) == MI_OK && points.count == SAMPLES && points.channels == 3);
    CHECK(!memcmp(points.values, again.values, SAMPLES * 12));
    int on_first = 0, left = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const float *p = points.values + 3 * i;
        const int first = p[2] == 0;
        on_first += first;
        left += first && p[0] < 0.5f;
        CHECK(p[0] >= 0 && p[0] <= (first ? 1 : 3) && p[1] >= 0 && p[1] <= 1 && (first || p[2] == 5), "%g %g %g", p[0], p[1], p[2]);
    }
    CHECK(abs(on_first - SAMPLES / 4) < 150, "%d of %d points on a quarter of the area", on_first, SAMPLES);
    CHECK(abs(2 * left - on_first) < 120, "%d of %d points on half of it", left, on_first);
    mk_release(points.values), mk_release(again.values);
}

#define OFF_BODY \
    "8 3 0\n0 0 0\n1 0 0 # corner\n1 1 0\n0 1 0\n\n0 0 5\n3 0 5\n3 1 5\n0 1 5\n3 0 1 0\n# quads\n4 0 1 2 3 255 0 0\n4 4 5 6 7\n"

static void test_faces(void) {
    check_sampling("a.off", "OFF\n" OFF_BODY);
    check_sampling("a.OFF", "OFF" OFF_BODY);
    check_sampling("a.off", "\n# first\nCOFF " OFF_BODY);
    check_sampling("a.ply",
                   "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\nelement face 3\n"
                   "property uchar flag\nproperty list uchar uint vertex_index\nproperty list int float other\nend_header\n"
                   "0 0 0 1 0 0 1 1 0 0 1 0 0 0 5 3 0 5 3 1 5 0 1 5\n1 3 0 1 0 0\n2 4 0 1 2 3 2 7 7\n3 4 4 5 6 7 1 0");
    GIVES("a.off", "OFF\n2 0 0\n1 2 3\n4 5 6", 0, 2, 1, 2, 3, 4, 5, 6);
}

static void test_defects(void) {
    for (size_t i = 0; i < sizeof defects / sizeof *defects; i++) {
        mp_points points;
        const int32_t status = reading(defects[i].name, defects[i].content, (size_t)defects[i].bytes, 0, 10, &points);
        CHECK(status == MI_ERR_FORMAT && error.code == status, "%s: status %d", defects[i].name, (int)status);
        CHECK(!strcmp(error.text, defects[i].error), "%s: '%s', not '%s'", defects[i].name, error.text, defects[i].error);
        CHECK(points.values == NULL, "%s", defects[i].name);
    }
    mp_points points;
    CHECK(reading("a.xyz", "1 2 3\n", 6, 6, 1, &points) == MI_ERR_FORMAT && !strcmp(error.text, "points have 3 values, 6 are wanted"));
    CHECK(mp_kind_of("a.las") == -1 && mp_kind_of("ply") == -1 && mp_kind_of("x.ply.PLY") == MP_PLY);
}

int main(void) {
    const int64_t before = mk_bytes_in_use();
    test_text();
    test_npy();
    test_ply();
    test_faces();
    test_defects();
    CHECK(mk_bytes_in_use() == before, "%lld bytes are left", (long long)(mk_bytes_in_use() - before));
    return check_result("test_point_files");
}
