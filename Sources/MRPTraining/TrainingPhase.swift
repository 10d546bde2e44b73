import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

extension Phase {
    /// The objective of this phase, with its weights in the model: in pretraining what option `objective` names, in fine-tuning that of the
    /// head that option `task` names.
    func attachObjective(
        to model: Model, _ dataset: any ImageDataset, _ options: Options
    ) throws -> any TrainingObjective {
        switch self {
        case .pretrain:
            let objective = try Objectives.make(options, for: model)
            try model.attach(objective, seed: options.seed)
            return objective
        case .finetune:
            let descriptor = try Heads.registry.entry(options[ObjectiveOptions.task])
            let request = HeadRequest(
                encoder: model.encoder, dataset: dataset, options: options, pretrainedPyramid: model.objective?.pyramid)
            let head = try descriptor.make(request)
            let names = Self.classNames(dataset, outputs: head.classes)
            if model.head?.isSame(as: head) != true || !(model.classNames.isEmpty || model.classNames == names) {
                if model.head != nil {
                    Log.info(
                        "the classifier for \(ClassMatch.list(model.classNames)) is replaced by a fresh one for \(ClassMatch.list(names))")
                }
                Self.report(try model.attach(head, seed: options.seed), of: head, model)
            }
            model.describe(as: head)
            (model.classNames, model.labelType) = (names, dataset.labelType)
            // A decoder belongs to the encoder as it was; fine-tuning changes the encoder.
            model.detachObjective()
            let objective = try descriptor.objective(head, request)
            model.classPrior = head.isClassifier ? try Self.classPrior(dataset, options, objective) : nil
            return objective
        }
    }

    /// Says whether a head began with the pyramid of the model's pretraining.
    private static func report(_ common: Int, of head: any Head, _ model: Model) {
        guard let objective = model.objective, let pyramid = objective.pyramid else { return }
        if common > 0 {
            Log.info(
                "task \(head.name) begins with encoder and feature pyramid (\(common) weights of width \(pyramid.width)) of the model's pretraining by \(objective.name)"
            )
        } else {
            Log.info("task \(head.name) begins without the feature pyramid of width \(pyramid.width) that \(objective.name) trained")
        }
    }

    /// The training images of the classes, and what the scores will contain of their shares.
    private static func classPrior(
        _ dataset: any ImageDataset, _ options: Options, _ objective: any TrainingObjective
    ) throws -> ClassPrior? {
        let classes = dataset.classCount
        guard let counts = try ClassFrequencies.counts(options, labels: dataset.labels, classes: classes) else { return nil }
        let sampler = try Samplers.registry.entry(options[DataOptions.sampler]).make(dataset, options)
        if sampler.removedPrior > 0, objective.removedPrior > 0 {
            Log.warning(
                "sampler \(sampler.name) and loss \(options[Classification.lossName]) both make up for the classes' shares: rare classes get too much"
            )
        }
        return ClassPrior(counts: counts, exponent: 1 - sampler.removedPrior - objective.removedPrior)
    }

    /// Names of a classifier's outputs: those of the dataset's classes; where these are numbers, there is one for each output.
    private static func classNames(_ dataset: any ImageDataset, outputs: Int) -> [String] {
        let names = dataset.classNames
        guard !dataset.hasClassNames, outputs > names.count, outputs <= 1 << 20 else { return names }
        return (0..<outputs).map(String.init)
    }
}
