/* Owns the loop: pretrains step by step, fine-tunes with few labels, measures.
 *
 *     c++ -std=c++11 pretrain_finetune.cpp -lmrp        MRP_EPOCHS=1 makes it short */
#include <cstdio>
#include <cstdlib>

#include "mrp.hpp"

int main() {
    try {
        const char *epochs = std::getenv("MRP_EPOCHS");
        mrp::config options = mrp::make_config("mae_vit_mini_32");
        mrp::set(options, "pretrain.epochs", epochs ? epochs : "5");
        mrp::set(options, "finetune.epochs", epochs ? epochs : "10");
        mrp::set(options, "batch_size", "32");
        mrp::set(options, "image_size", "16");

        mrp::dataset images = mrp::generate(options, 256, 1);
        mrp::dataset few = mrp::subset(images, 64, 1);
        mrp::model model = mrp::make_model(options);

        mrp::trainer run = mrp::make_trainer(model, images, options, "pretrain");
        int64_t bytes = 0, steps = 0;
        mrp::check(mrp_trainer_plan(run, &bytes, &steps));
        std::printf("%lld steps, %.1f MiB\n", static_cast<long long>(steps), static_cast<double>(bytes) / (1 << 20));
        while (mrp::check(mrp_trainer_step(run)) == MRP_OK) {}
        std::printf("loss %.4f\n", mrp_progress_value(mrp_trainer_progress(run), "loss"));

        mrp::check(mrp_finetune(model, few, options, nullptr, nullptr));
        std::printf("top-1 %.1f %%\n", 100 * mrp::evaluate(model, images, options, "top1"));
        mrp::check(mrp_model_save(model, "classifier.safetensors", NULL));
        mrp::load_model("no such file.safetensors");
    } catch (const mrp::error &error) {
        std::printf("as expected: %s (%s)\n", error.what(), mrp_status_string(error.status));
        return error.status == MRP_ERR_IO ? 0 : 1;
    }
    return 1;
}
