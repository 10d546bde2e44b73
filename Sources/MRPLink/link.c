/* Exists so that the target, which carries only link flags, has a source. */
typedef int mrp_link_translation_unit;
