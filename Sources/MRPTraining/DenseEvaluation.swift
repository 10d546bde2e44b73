import MRPData
import MRPEngine
import MRPModels

/// What a head that answers for pixels is worth on a dataset.
public protocol DenseEvaluation {
    /// The measure that tells which state of a run is the best: larger is better.
    static var main: String { get }
    var measures: [(name: String, value: Double)] { get }
}

extension DenseEvaluation {
    /// A number by its name. Errors: `.argument` for an unknown one.
    public func value(_ name: String) throws -> Double {
        guard let found = measures.first(where: { $0.name == name }) else {
            let names = measures.map(\.name)
            let list = names.dropLast().joined(separator: ", ") + " and " + (names.last ?? "")
            throw MRPError(.argument, "unknown metric '\(name)' of pixels: there are \(list)")
        }
        return found.value
    }
}

extension Inference {
    static func mainMeasure(of head: any Head) -> String { head is InstanceHead ? InstanceEvaluation.main : MapEvaluation.main }

    /// Refuses datasets that the model's head cannot be measured on.
    func checkDense(_ dataset: ImageDataset, _ purpose: String) throws {
        guard model.head is InstanceHead else {
            _ = try pixelPlaces(dataset)
            return
        }
        try dataset.requireMasks(.objects, for: purpose)
    }

    /// Evaluates the model's dense head; nil when it was cancelled. Errors: those of `evaluateMaps` and `evaluateInstances`.
    public func evaluateDense(_ dataset: ImageDataset) throws -> (any DenseEvaluation)? {
        model.head is InstanceHead ? try evaluateInstances(dataset) : try evaluateMaps(dataset)
    }
}
