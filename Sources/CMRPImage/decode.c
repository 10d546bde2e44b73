/* Image decoding. */
typedef int mi_translation_unit;
