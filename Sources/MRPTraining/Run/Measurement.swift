import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Images with labels that training does not see.
public struct Validation {
    public var heldOut: ImageDataset
    /// Labelled images that a probe of a pretrained encoder learns from; fine-tuning does not need them.
    public var reference: ImageDataset?

    public init(heldOut: ImageDataset, reference: ImageDataset? = nil) {
        self.heldOut = heldOut
        self.reference = reference
    }
}

/// Measures a model on held-out images between two steps: a classifier by its accuracy, an encoder that is pretrained by probes on its
/// frozen features.
struct Measurement {
    let validation: Validation
    let phase: Phase
    let options: Options
    /// Steps from one measurement to the next.
    let interval: Int
    /// The head that answers for pixels; nil: there is none.
    private let dense: (any Head)?
    private let probes: [Probe.Method]
    /// Of a classifier; nil for a dense head.
    private let match: ClassMatch?

    init(_ validation: Validation, _ phase: Phase, _ options: Options, _ model: Model, steps: Int, stepsPerEpoch: Int) throws {
        self.validation = validation
        self.phase = phase
        self.options = options
        // In pretraining a measurement encodes two sets of images: ten in a run tell enough.
        let epochs = options[MeasurementOptions.validateEpochs, phase]
        let usual = phase == .pretrain ? max(steps / 10, 1) : stepsPerEpoch
        interval = max(1, epochs.map { Int(($0 * Double(stepsPerEpoch)).rounded()) } ?? usual)
        probes = options[MeasurementOptions.probe].methods
        try Pipeline.check(validation.heldOut, fits: model)
        dense = phase == .finetune ? model.head.flatMap { $0.isDense ? $0 : nil } : nil
        guard validation.heldOut.labels != nil || dense != nil else { throw MRPError(.argument, "the held-out images have no labels") }
        switch phase {
        case .pretrain:
            guard let reference = validation.reference else {
                throw MRPError(.argument, "measuring an encoder needs labelled reference images beside the held-out ones")
            }
            try Pipeline.check(reference, fits: model)
            try Probe.check(known: reference, heldOut: validation.heldOut)
            match = try Probe.match(validation.heldOut, reference)
            guard !probes.contains(.knn) || options[MeasurementOptions.knnK] <= reference.count else {
                throw MRPError(.argument, "knn_k \(options[MeasurementOptions.knnK]) is above the \(reference.count) labelled images")
            }
        case .finetune:
            let inference = Inference(model, options)
            guard dense == nil else {
                match = nil
                try inference.checkDense(validation.heldOut, "measuring the held-out images")
                break
            }
            match = try inference.classMatch(validation.heldOut)
        }
        if let warning = match?.warning { Log.warning("held-out images: \(warning)") }
    }

    /// The measure that decides which state is the best: larger is better.
    var main: String {
        dense.map(Inference.mainMeasure) ?? (phase == .finetune ? "top1" : probes.first == .linear ? "probe_top1" : "knn_top1")
    }

    /// The measures by name; nil when it was cancelled.
    func measure(_ model: Model, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?) throws -> [String: Double]? {
        let inference = Inference(model, options, cancel: cancel, poll: poll)
        if dense != nil {
            guard let result = try inference.evaluateDense(validation.heldOut) else { return nil }
            let named = result.measures.map { ($0.name == "loss" ? "validation_loss" : $0.name, $0.value) }
            return Dictionary(named) { first, _ in first }
        }
        if phase == .finetune {
            guard let result = try inference.evaluate(validation.heldOut, match: match) else { return nil }
            return ["top1": result.top1, "top5": result.top5, "validation_loss": result.loss]
        }
        guard let reference = validation.reference,
            let found = try Probe(inference).accuracies(probes, known: reference, heldOut: validation.heldOut)
        else { return nil }
        return Dictionary(uniqueKeysWithValues: zip(probes.map { $0 == .knn ? "knn_top1" : "probe_top1" }, found))
    }
}

/// Record of the measurements of a run; part of its checkpoints.
struct MeasurementRecord {
    /// The last values by name.
    var values: [String: Double] = [:]
    /// The step after which they were measured.
    var step = 0
    var best: Double?
    var bestStep = 0
    /// Measurements since the best one.
    var withoutBetter = 0

    /// Takes in what was measured after a step; true when it is the best so far.
    mutating func add(_ measured: [String: Double], main: String, step: Int) -> Bool {
        values.merge(measured) { $1 }
        self.step = step
        guard let value = measured[main], value > best ?? -.infinity else {
            withoutBetter += 1
            return false
        }
        (best, bestStep, withoutBetter) = (value, step, 0)
        return true
    }

    var json: JSON {
        var members: [(key: String, value: JSON)] = [
            ("values", .object(values.sorted { $0.key < $1.key }.map { ($0.key, .number($0.value)) })),
            ("step", .integer(step)), ("best_step", .integer(bestStep)), ("without_better", .integer(withoutBetter)),
        ]
        if let best { members.append(("best", .number(best))) }
        return .object(members)
    }

    init() {}

    /// The record in a checkpoint after `last`. Errors (`.format`): numbers that no run comes to.
    init(_ json: JSON, step last: Int) throws {
        for (key, value) in json["values"]?.members ?? [] { values[key] = value.number }
        step = try json.count("step", through: last)
        best = json["best"]?.number
        bestStep = try json.count("best_step", through: last)
        withoutBetter = try json.count("without_better", through: last)
    }
}
