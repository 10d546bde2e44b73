/* Generated scenes for demonstrations and tests of dense prediction: 3 to 6 shapes of random colours on textured ground, later ones in front
 * of earlier ones, with noise. A pixel is a function of (seed, image index) alone, the same on every machine: no libm but square roots, no
 * fused multiply-add. */
#ifndef MI_SCENES_H
#define MI_SCENES_H

#include "mi_image.h"

/* Class 0 is the ground. */
enum { MI_SCENE_SHAPES = 6, MI_SCENE_CLASSES = MI_SCENE_SHAPES + 1, MI_SCENE_MAX_CHANNELS = 64, MI_SCENE_MAX_OBJECTS = 6 };

const char *mi_scene_class(int32_t index);

/* Image `index` as interleaved uint8 (height x width x channels, packed), the class of each pixel, and its object, 1, 2, ... (0: ground). */
void mi_scene_draw(uint64_t seed, int64_t index, int64_t height, int64_t width, int32_t channels, uint8_t *pixels, uint8_t *classes,
                   uint8_t *objects);

#endif
