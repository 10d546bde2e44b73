/* PLY (Stanford's polygon format): text, and binary in both byte orders. Elements are walked in their order, since lists make the place of
 * what follows unknown in advance. */
#include <math.h>
#include <string.h>

#include "mk_interrupt.h"
#include "mk_memory.h"
#include "mp_groups.h"
#include "reading.h"

enum { MAX_ELEMENTS = 16, MAX_PROPERTIES = 256 };
enum { INT8, UINT8, INT16, UINT16, INT32, UINT32, FLOAT32, FLOAT64, TYPES };
enum { ASCII, LITTLE, BIG };
enum { ROLE_OTHER = -1, ROLE_CORNERS = -2 }; /* else the channel of a vertex */

static const struct {
    const char *name, *other;
    int bytes;
} types[TYPES] = {{"char", "int8", 1}, {"uchar", "uint8", 1}, {"short", "int16", 2},   {"ushort", "uint16", 2},
                  {"int", "int32", 4}, {"uint", "uint32", 4}, {"float", "float32", 4}, {"double", "float64", 8}};

typedef struct ply_property {
    int type, length_type; /* length_type: of a list, else -1 */
    int64_t role;
} ply_property;

typedef struct ply_element {
    int64_t count;
    int first, properties;
    int is_vertex, is_face;
} ply_element;

typedef struct ply_header {
    int format, elements, properties;
    ply_element element[MAX_ELEMENTS];
    ply_property property[MAX_PROPERTIES];
    int64_t vertices, faces, there; /* there: values of a vertex */
} ply_header;

typedef struct ply_data {
    const uint8_t *at, *end;
    int format;
    int64_t element, row; /* for messages */
} ply_data;

static int is_text(const char *word, int64_t length, const char *text) {
    return length == (int64_t)strlen(text) && memcmp(word, text, (size_t)length) == 0;
}

static int type_of(const char *word, int64_t length) {
    for (int i = 0; i < TYPES; i++)
        if (is_text(word, length, types[i].name) || is_text(word, length, types[i].other)) return i;
    return -1;
}

/* ---- the header ---- */

static int32_t malformed(const mp_text *line, const char *what, mi_error *error) {
    return mp_fail(error, MI_ERR_FORMAT, "line %lld of the header: %s", (long long)line->line, what);
}

static int32_t take_format(mp_text *line, ply_header *header, mi_error *error) {
    static const char *const names[] = {"ascii", "binary_little_endian", "binary_big_endian"};
    const char *word;
    int64_t length;
    if (header->format >= 0) return malformed(line, "a second format", error);
    if (!mp_next_word(line, &word, &length)) return malformed(line, "no format is named", error);
    for (int i = 0; i < 3; i++)
        if (is_text(word, length, names[i])) header->format = i;
    if (header->format < 0)
        return mp_fail(error, MI_ERR_FORMAT, "format '%s' is not ascii, binary_little_endian or binary_big_endian", mp_shown(word, length));
    if (!mp_next_word(line, &word, &length) || !is_text(word, length, "1.0"))
        return malformed(line, "the format's version is not 1.0", error);
    return MI_OK;
}

static int32_t take_element(mp_text *line, ply_header *header, mi_error *error) {
    const char *name, *word;
    int64_t length, digits;
    if (header->elements == MAX_ELEMENTS) return malformed(line, "more than 16 elements", error);
    ply_element *element = &header->element[header->elements];
    *element = (ply_element){.first = header->properties};
    if (!mp_next_word(line, &name, &length) || !mp_next_word(line, &word, &digits))
        return malformed(line, "an element has a name and a number of rows", error);
    if (!mp_whole(word, digits, &element->count))
        return mp_fail(error, MI_ERR_FORMAT, "element %s has '%s' rows, which is not a number in 0 ... 2^63 - 1", mp_shown(name, length),
                       mp_shown(word, digits));
    element->is_vertex = is_text(name, length, "vertex");
    element->is_face = is_text(name, length, "face");
    for (int i = 0; i < header->elements; i++)
        if ((element->is_vertex && header->element[i].is_vertex) || (element->is_face && header->element[i].is_face))
            return malformed(line, "a second element of this name", error);
    if (element->is_vertex) header->vertices = element->count;
    header->elements++;
    return MI_OK;
}

/* x, y, z are channels 0, 1, 2 wherever they stand; the others follow in their order. */
static int64_t vertex_role(const char *name, int64_t length, ply_header *header) {
    if (length == 1 && *name >= 'x' && *name <= 'z') return *name - 'x';
    return header->there++;
}

static int32_t take_property(mp_text *line, ply_header *header, mi_error *error) {
    const char *word;
    int64_t length;
    ply_property property = {-1, -1, ROLE_OTHER};
    if (header->elements == 0) return malformed(line, "a property before the first element", error);
    if (header->properties == MAX_PROPERTIES) return malformed(line, "more than 256 properties", error);
    ply_element *element = &header->element[header->elements - 1];
    if (!mp_next_word(line, &word, &length)) return malformed(line, "a property without a type", error);
    const int is_list = is_text(word, length, "list");
    if (is_list) {
        if (element->is_vertex)
            return malformed(line, "a vertex with a list has no fixed number of values: lists inside of vertices are not read", error);
        if (!mp_next_word(line, &word, &length) || (property.length_type = type_of(word, length)) < 0 || property.length_type >= FLOAT32)
            return malformed(line, "the length of a list is not of a whole-number type", error);
        if (!mp_next_word(line, &word, &length)) return malformed(line, "a list without a type", error);
    }
    property.type = type_of(word, length);
    if (property.type < 0) return mp_fail(error, MI_ERR_FORMAT, "a property has the unknown type '%s'", mp_shown(word, length));
    if (!mp_next_word(line, &word, &length)) return malformed(line, "a property without a name", error);
    if (element->is_vertex) property.role = vertex_role(word, length, header);
    if (element->is_face && is_list && (is_text(word, length, "vertex_indices") || is_text(word, length, "vertex_index"))) {
        if (property.type >= FLOAT32) return malformed(line, "the corners of a face are not of a whole-number type", error);
        property.role = ROLE_CORNERS;
        header->faces = element->count;
    }
    header->property[header->properties++] = property;
    element->properties++;
    return MI_OK;
}

static int32_t check_header(const ply_header *header, mi_error *error) {
    if (header->format < 0) return mp_fail(error, MI_ERR_FORMAT, "the header names no format");
    int seen = 0, vertex = 0;
    for (int e = 0; e < header->elements; e++) {
        const ply_element *element = &header->element[e];
        vertex |= element->is_vertex;
        for (int i = element->first; element->is_vertex && i < element->first + element->properties; i++) {
            const int64_t role = header->property[i].role;
            if (role >= 3) continue;
            if (seen & 1 << role) return mp_fail(error, MI_ERR_FORMAT, "vertices have '%c' twice", (char)('x' + role));
            seen |= 1 << role;
        }
    }
    if (!vertex) return mp_fail(error, MI_ERR_FORMAT, "the header has no element vertex");
    if (seen != 7) return mp_fail(error, MI_ERR_FORMAT, "vertices have no property x, y or z");
    return MI_OK;
}

static int32_t read_header(mp_text *text, ply_header *header, mi_error *error) {
    mp_text line;
    const char *word;
    int64_t length;
    *header = (ply_header){.format = -1, .there = 3};
    if (!mp_next_line(text, &line) || !mp_next_word(&line, &word, &length) || !is_text(word, length, "ply"))
        return mp_fail(error, MI_ERR_FORMAT, "not a PLY file: it does not begin with ply");
    while (mp_next_line(text, &line)) {
        int32_t status = MI_OK;
        if (!mp_next_word(&line, &word, &length)) continue;
        if (is_text(word, length, "end_header")) return check_header(header, error);
        if (is_text(word, length, "format"))
            status = take_format(&line, header, error);
        else if (is_text(word, length, "element"))
            status = take_element(&line, header, error);
        else if (is_text(word, length, "property"))
            status = take_property(&line, header, error);
        else if (!is_text(word, length, "comment") && !is_text(word, length, "obj_info"))
            status =
                mp_fail(error, MI_ERR_FORMAT, "line %lld of the header: unknown word '%s'", (long long)line.line, mp_shown(word, length));
        if (status != MI_OK) return status;
    }
    return mp_fail(error, MI_ERR_FORMAT, "the header has no end: the file ends before end_header");
}

/* ---- the data ---- */

static int32_t ends_early(const ply_data *data, mi_error *error) {
    return mp_fail(error, MI_ERR_FORMAT, "the file ends in row %lld of element %lld", (long long)data->row, (long long)data->element);
}

static double binary_value(const uint8_t *at, int type, int big) {
    uint64_t bits = 0;
    const int bytes = types[type].bytes;
    for (int i = 0; i < bytes; i++) bits |= (uint64_t)at[big ? bytes - 1 - i : i] << (8 * i);
    const uint32_t low = (uint32_t)bits;
    float single;
    double wide;
    memcpy(&single, &low, 4);
    memcpy(&wide, &bits, 8);
    switch (type) {
    case INT8: return (int8_t)bits;
    case INT16: return (int16_t)bits;
    case INT32: return (int32_t)bits;
    case FLOAT32: return single;
    case FLOAT64: return wide;
    default: return (double)bits;
    }
}

/* Text is taken word by word: lines may be broken anywhere. */
static int32_t next_value(ply_data *data, int type, double *value, mi_error *error) {
    if (data->format != ASCII) {
        if (data->end - data->at < types[type].bytes) return ends_early(data, error);
        *value = binary_value(data->at, type, data->format == BIG);
        data->at += types[type].bytes;
        return MI_OK;
    }
    const uint8_t *at = data->at;
    while (at < data->end && (*at == ' ' || (*at >= 9 && *at <= 13))) at++;
    const uint8_t *word = at;
    while (at < data->end && *at != ' ' && !(*at >= 9 && *at <= 13)) at++;
    if (at == word) return ends_early(data, error);
    data->at = at;
    if (!mp_number((const char *)word, at - word, value) || (type < FLOAT32 && !(floor(*value) == *value)))
        return mp_fail(error, MI_ERR_FORMAT, "row %lld of element %lld: '%s' is not a number of type %s", (long long)data->row,
                       (long long)data->element, mp_shown((const char *)word, at - word), types[type].name);
    return MI_OK;
}

static int32_t skip_list(ply_data *data, const ply_property *property, int64_t length, mi_error *error) {
    if (data->format != ASCII) {
        if (length > (data->end - data->at) / types[property->type].bytes) return ends_early(data, error);
        data->at += length * types[property->type].bytes;
        return MI_OK;
    }
    int32_t status = MI_OK;
    double value;
    for (int64_t i = 0; status == MI_OK && i < length; i++) status = next_value(data, property->type, &value, error);
    return status;
}

static int32_t read_list(ply_data *data, const ply_property *property, const ply_header *header, mp_mesh *mesh, mi_error *error) {
    double length, value;
    int32_t status = next_value(data, property->length_type, &length, error);
    if (status != MI_OK) return status;
    if (!(length >= 0 && length < 4294967296.0))
        return mp_fail(error, MI_ERR_FORMAT, "row %lld of element %lld has a list of %.0f values", (long long)data->row,
                       (long long)data->element, length);
    if (property->role != ROLE_CORNERS) return skip_list(data, property, (int64_t)length, error);
    mp_face face = {.number = data->row};
    while (status == MI_OK && face.corners < (int64_t)length) {
        status = next_value(data, property->type, &value, error);
        /* a text may have any number here */
        if (status == MI_OK) status = mp_add_corner(mesh, &face, fabs(value) < 1e15 ? (int64_t)value : -1, header->vertices, error);
    }
    return status;
}

static int32_t read_row(ply_data *data, const ply_element *element, const ply_header *header, mp_mesh *mesh, mi_error *error) {
    int32_t status = MI_OK;
    for (int i = element->first; status == MI_OK && i < element->first + element->properties; i++) {
        const ply_property *property = &header->property[i];
        if (property->length_type >= 0) {
            status = read_list(data, property, header, mesh, error);
            continue;
        }
        double value;
        status = next_value(data, property->type, &value, error);
        if (status != MI_OK || !element->is_vertex || property->role >= mesh->vertices.channels) continue;
        if (!mp_store(&mesh->vertices, data->row * mesh->vertices.channels + property->role, value))
            status = mp_not_finite(data->row, "vertex", error);
    }
    return status;
}

static int32_t read_element(ply_data *data, const ply_element *element, const ply_header *header, mp_mesh *mesh, mi_error *error) {
    if (element->properties == 0) return MI_OK;
    /* A row takes a byte at least, so a size beyond the file's is known before anything is read. */
    if (element->count > data->end - data->at)
        return mp_fail(error, MI_ERR_FORMAT, "%lld rows of element %lld do not fit in the %lld bytes that are left",
                       (long long)element->count, (long long)data->element, (long long)(data->end - data->at));
    int32_t status = MI_OK;
    for (data->row = 0; status == MI_OK && data->row < element->count; data->row++) {
        status = read_row(data, element, header, mesh, error);
        if (data->row % 65536 == 65535 && mk_interrupted()) status = mp_fail(error, MI_CANCELLED, "stopped by the caller");
    }
    return status;
}

int32_t mp_read_ply(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error) {
    ply_header header;
    mp_text text = {(const char *)bytes, (const char *)bytes + count, 1};
    mp_mesh mesh = {0};
    int64_t channels;
    int32_t status = read_header(&text, &header, error);
    if (status == MI_OK) status = mp_channels(reading, header.there, &channels, error);
    if (status != MI_OK) return status;
    ply_data data = {(const uint8_t *)text.at, bytes + count, header.format, 0, 0};
    if (header.vertices > data.end - data.at)
        return mp_fail(error, MI_ERR_FORMAT, "%lld vertices do not fit in the %lld bytes after the header", (long long)header.vertices,
                       (long long)(data.end - data.at));
    status = mp_make(&mesh.vertices, 1, header.vertices, channels, error);
    for (; status == MI_OK && data.element < header.elements; data.element++)
        status = read_element(&data, &header.element[data.element], &header, &mesh, error);
    if (status == MI_OK) return mp_finish_mesh(&mesh, header.faces, reading, out, error);
    mp_release_mesh(&mesh);
    return status;
}
