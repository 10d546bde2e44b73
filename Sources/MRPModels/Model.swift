import MRPEngine

/// A vision encoder with its weights, and the objective or classifier that it has at the moment.
public final class Model {
    public let encoder: any ImageEncoder
    /// Objective that the encoder was pretrained by, or is being; its weights are among the parameters.
    public private(set) var objective: (any PretrainingObjective)?
    public private(set) var head: (any Head)?
    public let parameters: Parameters
    /// Measured or given at the first training, then part of the model.
    public var normalization: Normalization?
    /// Units of the images of the first training; nil when unknown.
    public var pixels: PixelRange?
    /// Names of the classes, index by index; empty when unknown.
    public var classNames: [String] = []
    /// What the names of the classes stand for (`ImageDataset.labelType`); nil when unknown.
    public var labelType: String?
    /// Training images of the classes; nil when unknown.
    public var classPrior: ClassPrior?
    /// Whether the encoder has been pretrained: fine-tuning then lowers the learning rate of the lower layers.
    public var isPretrained = false
    /// Digest of the weights with which its last training began: by it a run that goes on with the same model is known again.
    public var trainingStart: String?
    /// Remarks on a model that was read from a file, line by line: parts that were assumed, left out or changed.
    public var notes: [String] = []
    /// Brings the weights up to date where a device trains them; nil: they are.
    public var refresh: (() throws -> Void)?

    /// A model with fresh weights, or with zeros where there is no seed.
    public init(encoder: any ImageEncoder, objective: (any PretrainingObjective)? = nil, head: (any Head)? = nil, seed: UInt64?) throws {
        self.encoder = encoder
        parameters = Parameters()
        try parameters.add(encoder.parameters(), seed: seed)
        if let objective { try attach(objective, seed: seed) }
        if let head { try attach(head, seed: seed) }
    }

    /// Gives the model an objective. Weights that it has in common with the one before, or with the head, by name and shape, stay as they are; a
    /// head with a weight of the same name and another shape is left out.
    public func attach(_ objective: any PretrainingObjective, seed: UInt64?) throws {
        let wanted = objective.parameters()
        let fresh = wanted.filter { parameters[$0.name]?.shape != $0.shape }
        let kept = Set(wanted.map(\.name)).subtracting(fresh.map(\.name))
        if let head, !headNames.isDisjoint(with: fresh.map(\.name)) {
            Log.warning(
                "the head of task \(head.name) is left out: its feature pyramid has another width than that of objective \(objective.name)")
            detachHead()
        }
        let former = objectiveNames.subtracting(headNames)
        parameters.retain { !former.contains($0) || kept.contains($0) }
        try parameters.add(fresh, seed: seed)
        self.objective = objective
    }

    /// Gives the model a fresh head. Weights that it has in common with the objective, by name and shape, stay as they are: their number.
    @discardableResult public func attach(_ head: any Head, seed: UInt64?) throws -> Int {
        let wanted = try head.parameters(on: encoder)
        let common = objectiveNames
        let additions = wanted.filter { !common.contains($0.name) || parameters[$0.name]?.shape != $0.shape }
        detachHead()
        try parameters.add(additions, seed: seed)
        self.head = head
        return wanted.count - additions.count
    }

    /// Weights that the head has too stay.
    public func detachObjective() {
        let names = objectiveNames.subtracting(headNames)
        parameters.retain { !names.contains($0) }
        objective = nil
    }

    /// Takes the description of a head that is the same but for how it was trained; the weights stay.
    public func describe(as head: any Head) {
        if self.head?.isSame(as: head) == true { self.head = head }
    }

    /// Weights that the objective has too stay.
    public func detachHead() {
        let names = headNames.subtracting(objectiveNames)
        parameters.retain { !names.contains($0) }
        head = nil
    }

    /// The names of the objective's weights; none without one.
    public var objectiveNames: Set<String> { Set((objective?.parameters() ?? []).map(\.name)) }

    /// The names of the head's weights; none without a head.
    public var headNames: Set<String> {
        // A head that is attached fits its encoder.
        let specifications = head.flatMap { try? $0.parameters(on: encoder) } ?? []
        return Set(specifications.map(\.name))
    }

    /// All that training changes. Putting it back restores weights that were added or removed, but not numbers inside of those that were there.
    public struct Contents {
        fileprivate let objective: (any PretrainingObjective)?
        fileprivate let head: (any Head)?
        fileprivate let parameters: Parameters.Contents
        fileprivate let normalization: Normalization?
        fileprivate let classNames: [String]
        fileprivate let classPrior: ClassPrior?
        fileprivate let isPretrained: Bool
    }

    public var contents: Contents {
        get {
            Contents(
                objective: objective, head: head, parameters: parameters.contents, normalization: normalization, classNames: classNames,
                classPrior: classPrior, isPretrained: isPretrained)
        }
        set {
            (objective, head, parameters.contents) = (newValue.objective, newValue.head, newValue.parameters)
            (normalization, classNames, isPretrained) = (newValue.normalization, newValue.classNames, newValue.isPretrained)
            classPrior = newValue.classPrior
        }
    }

    /// Runs the body. After an error the model is as it was: with `contents` also the numbers inside of its weights, for which they are copied
    /// first. Errors: the body's; `.memory`.
    public func restoringAfterErrors<Result>(contents copiesNumbers: Bool, _ body: () throws -> Result) throws -> Result {
        let before = contents
        let numbers = copiesNumbers ? try parameters.copies(precision: .float32) : [:]
        do {
            return try body()
        } catch {
            contents = before
            for (name, copy) in numbers { parameters[name]?.copyElements(of: copy) }
            throw error
        }
    }

    /// `training` says whether batch norms take the batch's statistics and update their running ones.
    public func builder(
        _ graph: Graph, training: Bool = false, dropPath: DropPath? = nil, mixture: MixtureContext = MixtureContext(),
        companions: [ParameterSpecification] = []
    ) -> NetworkBuilder {
        NetworkBuilder(
            graph, parameters, epsilon: encoder.epsilon, training: training, dropPath: dropPath, mixture: mixture, companions: companions)
    }

    /// A model with its own copy of everything.
    public func copy() throws -> Model {
        let result = try Model(encoder: encoder, objective: objective, head: head, seed: nil)
        for (name, tensor) in parameters.tensors {
            try Interruption.check()
            result.parameters[name]?.copyElements(of: tensor)
        }
        result.normalization = normalization
        result.pixels = pixels
        result.classNames = classNames
        result.labelType = labelType
        result.classPrior = classPrior
        result.isPretrained = isPretrained
        result.notes = notes
        return result
    }
}
