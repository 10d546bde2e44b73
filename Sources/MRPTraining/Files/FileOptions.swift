import MRPModels
import MRPOptions

/// Options of saving models and of keeping the classifier on loading; `AdaptationOptions` are the rest of loading.
enum FileOptions {
    static let names = Option(
        "names", .choice(WeightNames.self), default: .hub, section: .files,
        "Names of the weights in a saved model: hub (Hugging Face files), timm (also those of facebookresearch/mae), transformers5 (its state_dict), transformers5_saved (its own files). Any of them is read."
    )
    static let weightsType = Option(
        "weights_type", .choice(among: [ElementFormat.float32, .float16, .bfloat16]), default: .float32, section: .files,
        "Numbers in a saved model. F64, F32, F16 and BF16 are read.")
    static let classifier = Option(
        "classifier", .choice(Classifier.self), default: .keep, section: .files,
        "Whether loading keeps the file's classifier or leaves it out; new with classes set makes a fresh one.")

    static let all: [any OptionDeclaration] = [names, weightsType] + AdaptationOptions.all + [classifier]

    enum Classifier: String, CaseIterable { case keep, new }
}
