import MRPModels
import MRPOptions

/// Options of the measurements on held-out images.
enum MeasurementOptions {
    static let validateEpochs = Option(
        "validate_epochs", .number(1e-9...1e6), auto: "1 in fine-tuning, a tenth of the run in pretraining", section: .measurement,
        "Epochs from one measurement on the held-out images to the next, there is one at the end too."
    ).perPhase
    static let probe = Option(
        "probe", .choice(Probe.Choice.self), default: .knn, section: .measurement,
        "How pretraining is measured: by nearest neighbours, by a linear classifier on frozen features, or both.")
    static let earlyStopping = Option(
        "early_stopping", .integer(0...1_000_000), default: 0, section: .measurement,
        "Training stops after this many measurements in a row that are not better than the best; 0: never.")
    static let restoreBest = Option(
        "restore_best", .flag, default: false, section: .measurement,
        "Whether the model ends with the weights of its best measurement. They are kept in the run_folder, else in memory.")
    static let knnK = Option(
        "knn_k", .integer(1...1_000_000), default: 20, section: .measurement, "Neighbours that vote (Wu et al. 2018).")
    static let knnTemperature = Option(
        "knn_temperature", .number(1e-3...1e3), default: 0.07, section: .measurement,
        "Temperature of the votes: exp(cosine similarity / temperature).")
    static let probeEpochs = Option(
        "probe_epochs", .integer(1...100_000), default: 90, section: .measurement, "Epochs of a linear probe (He et al. 2021: 90).")
    static let probeLearningRate = Option(
        "probe_learning_rate", .number(0...), default: 6.4, section: .measurement,
        "Peak learning rate of a linear probe, LARS (He et al. 2021: 0.1 for 256 images, 6.4 for their batch of 16384).")
    static let probeBatchSize = Option(
        "probe_batch_size", .integer(1...(1 << 20)), auto: "an eighth of them, 64 to 16384", section: .measurement,
        "Images per step of a linear probe.")
    static let probeViews = Option(
        "probe_views", .integer(0...100_000), default: 0, section: .measurement,
        "Augmented views of the labelled images that a linear probe's epochs see in turn, with fine-tuning's augmentation; as many as probe_epochs: a new one each (He et al. 2021). 0: plain images."
    )

    /// Those of pretraining alone.
    static let ofProbes: [any OptionDeclaration] = [
        probe, knnK, knnTemperature, probeEpochs, probeLearningRate, probeBatchSize, probeViews,
    ]
    static let all: [any OptionDeclaration] =
        [
            validateEpochs, probe, earlyStopping, restoreBest, knnK, knnTemperature, probeEpochs, probeLearningRate, probeBatchSize,
            probeViews,
        ] + PriorOptions.all + MapOptions.all + InstanceOptions.all
}

extension Probe {
    /// The methods to measure by.
    enum Choice: String, CaseIterable {
        case knn, linear, both

        var methods: [Method] { Method.allCases.filter { self == .both || rawValue == $0.rawValue } }
    }
}

/// Options of `Inference.encode`.
enum FeatureOptions {
    static let features = Option(
        "features", .choice(Inference.Features.self), default: .mean, section: .data,
        "What encode returns: the mean over patches, the class token, or all tokens.")
    static let layer = Option(
        "layer", .integer(0...TransformerConfiguration.maximumDepth), default: 0, section: .data,
        "The block whose output encode returns, counted from 1; 0: the last, after the final norm.")

    static let patchStatistics = Option(
        "patch_statistics", .choice(Inference.PatchStatistics.self), default: .own, section: .data,
        "What reconstructions of standardised patches (norm_pix_loss) are shown with: own, mean and deviation of the hidden pixels themselves, as in the pictures of He et al. 2021, which tell a part of what was hidden; visible, those of the image's visible pixels."
    )

    static let all: [any OptionDeclaration] = [features, layer, patchStatistics]
}
