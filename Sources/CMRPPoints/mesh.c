/* Points on the faces of a mesh. */
#include <math.h>
#include <string.h>

#include "mk_interrupt.h"
#include "mk_memory.h"
#include "mk_random.h"
#include "mp_groups.h"
#include "reading.h"

#pragma STDC FP_CONTRACT OFF

/* RandomStream.Purpose.synthetic (5) with substream 16; generated clouds have others. */
enum { STREAM_FACES = 0x1005, MAX_TRIANGLES = 1 << 26 };

void mp_release_mesh(mp_mesh *mesh) {
    mk_release(mesh->vertices.values);
    mk_release(mesh->triangles);
    *mesh = (mp_mesh){0};
}

static int32_t add_triangle(mp_mesh *mesh, int32_t a, int32_t b, int32_t c, mi_error *error) {
    if (mesh->used == mesh->room) {
        const int64_t room = mesh->room ? 2 * mesh->room : 1024;
        if (room > MAX_TRIANGLES) return mp_fail(error, MI_ERR_UNSUPPORTED, "there are more triangles than the limit of %d", MAX_TRIANGLES);
        int32_t *larger = mk_allocate(room * 12);
        if (!larger) return mp_fail(error, MI_ERR_MEMORY, "memory is short for %lld triangles", (long long)room);
        if (mesh->used) memcpy(larger, mesh->triangles, (size_t)mesh->used * 12);
        mk_release(mesh->triangles);
        mesh->triangles = larger;
        mesh->room = room;
    }
    int32_t *triangle = mesh->triangles + 3 * mesh->used++;
    triangle[0] = a, triangle[1] = b, triangle[2] = c;
    return MI_OK;
}

int32_t mp_add_corner(mp_mesh *mesh, mp_face *face, int64_t vertex, int64_t vertices, mi_error *error) {
    if (vertex < 0 || vertex >= vertices)
        return mp_fail(error, MI_ERR_FORMAT, "face %lld names vertex %lld, which is outside 0 ..< %lld", (long long)face->number,
                       (long long)vertex, (long long)vertices);
    const int32_t corner = (int32_t)vertex;
    int32_t status = MI_OK;
    if (face->corners == 0) face->first = corner;
    if (face->corners >= 2) status = add_triangle(mesh, face->first, face->last, corner, error);
    face->last = corner;
    face->corners++;
    return status;
}

static double area(const mp_mesh *mesh, int64_t triangle) {
    const int64_t channels = mesh->vertices.channels;
    const int32_t *corners = mesh->triangles + 3 * triangle;
    const float *a = mesh->vertices.values + corners[0] * channels, *b = mesh->vertices.values + corners[1] * channels;
    const float *c = mesh->vertices.values + corners[2] * channels;
    double u[3], v[3];
    for (int axis = 0; axis < 3; axis++) u[axis] = (double)b[axis] - a[axis], v[axis] = (double)c[axis] - a[axis];
    const double x = u[1] * v[2] - u[2] * v[1], y = u[2] * v[0] - u[0] * v[2], z = u[0] * v[1] - u[1] * v[0];
    return 0.5 * sqrt(x * x + y * y + z * z);
}

/* The first triangle up to whose end the areas add up to more than `place`: never one without area. */
static int64_t triangle_at(const double *sums, int64_t count, double place) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (sums[middle] > place)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void draw(const mp_mesh *mesh, const double *sums, int64_t last, const mp_reading *reading, mp_points *out) {
    const int64_t channels = mesh->vertices.channels;
    for (int64_t i = 0; i < out->count; i++) {
        uint32_t words[4];
        mk_philox(reading->seed, STREAM_FACES, reading->file, (uint64_t)i, words);
        const double share = ((double)words[0] + (double)words[1] * 0x1p-32) * 0x1p-32;
        const double root = sqrt((double)words[2] * 0x1p-32), along = (double)words[3] * 0x1p-32;
        const int32_t *corners = mesh->triangles + 3 * triangle_at(sums, last + 1, share * sums[last]);
        const double weights[3] = {1 - root, root * (1 - along), root * along};
        for (int64_t c = 0; c < channels; c++) {
            double value = 0;
            for (int corner = 0; corner < 3; corner++) value += weights[corner] * mesh->vertices.values[corners[corner] * channels + c];
            out->values[i * channels + c] = (float)value;
        }
    }
}

static int32_t sample(mp_mesh *mesh, int64_t faces, const mp_reading *reading, mp_points *out, mi_error *error) {
    double *sums = mk_allocate((mesh->used + 1) * 8), total = 0;
    if (!sums) return mp_fail(error, MI_ERR_MEMORY, "memory is short for the areas of %lld triangles", (long long)mesh->used);
    int64_t last = 0;
    for (int64_t i = 0; i < mesh->used; i++) {
        const double size = area(mesh, i);
        total += size;
        sums[i] = total;
        if (size > 0) last = i; /* the place of a draw is below the sum of all, but for rounding */
    }
    int32_t status = MI_OK;
    if (!(total > 0) || !isfinite(total))
        status = mp_fail(error, MI_ERR_FORMAT, "the %lld faces have %s area to draw points from", (long long)faces,
                         total > 0 ? "an infinite" : "no");
    if (status == MI_OK && mk_interrupted()) status = mp_fail(error, MI_CANCELLED, "stopped by the caller");
    if (status == MI_OK) status = mp_make(out, 1, reading->samples, mesh->vertices.channels, error);
    if (status == MI_OK) draw(mesh, sums, last, reading, out);
    mk_release(sums);
    return status;
}

int32_t mp_finish_mesh(mp_mesh *mesh, int64_t faces, const mp_reading *reading, mp_points *out, mi_error *error) {
    int32_t status = MI_OK;
    if (faces == 0) {
        *out = mesh->vertices;
        mesh->vertices = (mp_points){0};
    } else {
        status = sample(mesh, faces, reading, out, error);
    }
    mp_release_mesh(mesh);
    return status;
}
