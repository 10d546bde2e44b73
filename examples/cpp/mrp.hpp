/* The C interface with C++ manners: handles that destroy themselves, exceptions that carry the status. Header only, C++11. Everything of
 * mrp.h can be used beside it: a handle converts to the C pointer. */
#ifndef MRP_HPP
#define MRP_HPP

#include <mrp.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace mrp {

class error : public std::runtime_error {
  public:
    explicit error(mrp_status status) : std::runtime_error(mrp_last_error()), status(status) {}
    const mrp_status status;
};

/* Throws for an error, and hands on MRP_OK, MRP_CANCELLED or MRP_DONE. */
inline mrp_status check(mrp_status status) {
    if (status < 0) throw error(status);
    return status;
}

template <class Opaque, void (*destroy)(Opaque *)> class handle {
  public:
    explicit handle(Opaque *pointer) : pointer_(pointer) {}
    operator Opaque *() const { return pointer_.get(); }

  private:
    struct deleter {
        void operator()(Opaque *pointer) const { destroy(pointer); }
    };
    std::unique_ptr<Opaque, deleter> pointer_;
};

using config = handle<mrp_config, mrp_config_destroy>;
using dataset = handle<mrp_dataset, mrp_dataset_destroy>;
using model = handle<mrp_model, mrp_model_destroy>;
using trainer = handle<mrp_trainer, mrp_trainer_destroy>;

inline config make_config(const char *preset = nullptr) {
    mrp_config *out = nullptr;
    check(mrp_config_create(preset, &out));
    return config(out);
}
inline void set(const config &options, const std::string &key, const std::string &value) {
    check(mrp_config_set(options, key.c_str(), value.c_str()));
}
inline dataset open_folder(const std::string &path, const config &options) {
    mrp_dataset *out = nullptr;
    check(mrp_dataset_open_folder(path.c_str(), options, &out));
    return dataset(out);
}
inline dataset generate(const config &options, int64_t count, uint64_t seed) {
    mrp_dataset *out = nullptr;
    check(mrp_dataset_generate(options, count, seed, &out));
    return dataset(out);
}
inline dataset subset(const dataset &images, int64_t count, uint64_t seed) {
    mrp_dataset *out = nullptr;
    check(mrp_dataset_subset(images, count, seed, &out));
    return dataset(out);
}
inline model make_model(const config &options) {
    mrp_model *out = nullptr;
    check(mrp_model_create(options, &out));
    return model(out);
}
inline model load_model(const std::string &path) {
    mrp_model *out = nullptr;
    check(mrp_model_load(path.c_str(), NULL, &out));
    return model(out);
}
inline trainer make_trainer(const model &model, const dataset &images, const config &options, const char *phase) {
    mrp_trainer *out = nullptr;
    check(mrp_trainer_create(model, images, options, phase, &out));
    return trainer(out);
}
inline double evaluate(const model &model, const dataset &images, const config &options, const char *metric) {
    double value = 0;
    check(mrp_evaluate(model, images, options, metric, &value));
    return value;
}

} // namespace mrp

#endif
