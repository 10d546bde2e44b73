import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// Options of predictions and measures by the training images of the classes.
enum PriorOptions {
    static let prior = Option(
        "prior", .choice(Prior.self), default: .training, section: .measurement,
        "What predictions take for the classes' shares beforehand: training, those that the scores were trained with; uniform, all alike: what the scores contain of the training images' shares is taken out (post-hoc logit adjustment, Menon et al. 2021); after loss balanced, logit_adjusted or proco there is nothing left to take out."
    )
    static let manyAbove = Option(
        "many_above", .number(0...), default: 100, section: .measurement,
        "many_top1 is of the classes with more training images than this.")
    static let fewBelow = Option(
        "few_below", .number(0...), default: 20, section: .measurement,
        "few_top1 is of the classes with fewer training images than this, medium_top1 of those between.")

    static let all: [any OptionDeclaration] = [prior, manyAbove, fewBelow]

    enum Prior: String, CaseIterable { case training, uniform }
}

extension Inference {
    /// The training images of the classifier's classes: those that option `class_counts` says, else those in its file. Errors: `.state` with
    /// what to do where neither are there.
    public func classPrior(for purpose: String) throws -> ClassPrior {
        let named = model.classNames.isEmpty ? try classifier().classes : model.classNames.count
        let kept = model.classPrior
        if let given = try ClassFrequencies.counts(options, labels: nil, classes: kept?.counts.count ?? named) {
            return ClassPrior(counts: given, exponent: kept?.exponent ?? 1)
        }
        guard let kept else {
            throw MRPError(
                .state, "\(purpose) needs the training images of each class, which the model's file does not have: set class_counts")
        }
        return kept
    }

    /// Scores of the classifier [B, classes] as option `prior` says.
    func scores(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let head = try classifier()
        let scores = try outputs(of: head, builder, batch: batch)
        guard options[PriorOptions.prior] == .uniform,
            let offsets = try classPrior(for: "prior uniform").uniformOffsets(classes: head.classes)
        else { return scores }
        let row = try Tensor([offsets.count])
        _ = row.float32.update(fromContentsOf: offsets)
        return try builder.graph.apply(AddRow(), [scores, builder.graph.constant(row)])[0]
    }

    /// Groups of classes by their number of training images.
    public enum Group: String, CaseIterable, Sendable {
        case many = "many_top1"
        case medium = "medium_top1"
        case few = "few_top1"
    }

    /// The mean of the class accuracies of a group, over its classes that have images in the evaluation; NaN where there are none.
    public func accuracy(of group: Group, in evaluation: Evaluation) throws -> Double {
        let prior = try classPrior(for: group.rawValue)
        let (above, below) = (options[PriorOptions.manyAbove], options[PriorOptions.fewBelow])
        guard below <= above else {
            throw MRPError(.argument, "few_below \(NumberText.short(below)) is above many_above \(NumberText.short(above))")
        }
        let level = try self.level()
        let known = evaluation.classAccuracies.enumerated().filter { label, accuracy in
            let count = level?.children(of: label).reduce(0) { $0 + prior.count(of: $1) } ?? prior.count(of: label)
            let own: Group = count > above ? .many : count < below ? .few : .medium
            return own == group && !accuracy.isNaN
        }
        return known.reduce(0) { $0 + $1.element } / Double(known.count)
    }
}
